"""Description files -> typed, validated objects, every name with its place.

from rumpel.model.project import Project
from rumpel.model.lock import load_lock

project = Project([root])
project.names("composition")
project.composition("sqlite-web", {"limit": "5"})
lock = load_lock(root / "rumpel.lock")
"""
