"""The command line: words -> what the other rooms do. Each command's module is imported when it is used.

`bootstrap` runs before anything is installed; `main` is the entry after that.
"""
