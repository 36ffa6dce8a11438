"""The browser front: one small server that knows users, and for each of them a process of their own with the page."""
