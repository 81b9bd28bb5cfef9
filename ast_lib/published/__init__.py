"""Published: the system of the paper and of its appendix, flaws included. Imports the core; the core never imports it."""
