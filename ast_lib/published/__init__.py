"""Published: the system of the paper and of its appendix, flaws included; imports the core, which never imports it."""
