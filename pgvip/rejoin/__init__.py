"""Making a returned host follow: rewind, clone, what is saved, what was lost."""
