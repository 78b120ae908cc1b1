"""A composition and its parts -> a plan. Data in, data out: nothing is fetched, built or started here.

from rumpel.resolve.resolver import Overrides, resolve
from rumpel.resolve.explain import explain

plan = resolve(project, "sqlite-web", lock, Overrides(kernel="debian"))
print(explain(plan))
"""
