"""Everything about acting on the screens: the menu behind `x`, plans, confirmations, runs.

Rule: nothing is started here but by `hands.start`, after a plan that was shown and the confirmation that its risk asks
for. Line builders are pure and know records only; what a key does is in `screens`.
"""
