"""Built-in notifiers, one file each; `type: webhook` means `webhook.py`."""
