"""A small chapter with every kind of exercise, for the tests of what is made of them."""

CHAPTER = r'''---
jupytext:
  notebook_metadata_filter: ast
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
ast:
  needs: []
---

# A small chapter

Its question is how long a chord is.

```{code-cell} ipython3
:tags: [parameters]

profile = "quick"  # smoke, quick or full
```

```{code-cell} ipython3
:tags: [hide-input]

import math

longest = 1 / 0 if False else 2.0
```

```{math}
:label: chord-length

\ell = 2 r \sin(\theta / 2)
```

**A chord is shorter than its arc.**

````{admonition} Proof: the chord is shorter
:class: dropdown

```{math}
\sin x < x
```
````

## Exercises

:::{quiz} How long is the chord of half a circle of radius $r$?
:label: quiz-chord
- [ ] $r$ :: that is the chord of 60 degrees,
  a sixth of the circle.
- [x] $2r$ :: {eq}`chord-length` with $\theta = \pi$.
- [ ] `math.pi * r` :: that is the arc, and a chord is shorter.
:::

```{exercise}
:label: chord-sine

Derive {eq}`chord-length`.
```

```{solution} chord-sine
:class: dropdown

Halve the triangle.
```

```{exercise}
:label: code-chord

Write `chord`.
```

```{code-cell} ipython3
:tags: [exercise-code]

def chord(radius: float, angle: float) -> float:
    """Length of the chord that an angle (rad) spans."""
    ### BEGIN SOLUTION
    half = angle / 2
    return 2 * radius * math.sin(half)
    ### END SOLUTION
```

```{code-cell} ipython3
:tags: [exercise-check]

assert math.isclose(chord(1.0, math.pi), 2.0)
assert chord(2.0, 0.3) == 2 * chord(1.0, 0.3), "a chord grows with the radius"
```

```{solution} code-chord
:class: dropdown

Use half of the angle.
```

```{exercise}
:label: code-arc
:class: instructor

Write `arc`.
```

```{code-cell} ipython3
:tags: [exercise-code]

def arc(radius: float, angle: float) -> float:
    """Length of the arc that an angle (rad) spans."""
    ### BEGIN SOLUTION
    secret_product = radius * angle
    return secret_product
    ### END SOLUTION
```

```{code-cell} ipython3
:tags: [exercise-check]

assert math.isclose(arc(1.0, math.pi), math.pi)
assert arc(2.0, 0.3) == 2 * arc(1.0, 0.3)
```

```{solution} code-arc
:class: instructor

The secret idea: an angle is a ratio. *Expected wrong answer:* the chord; the check reports the first line.
```
'''
