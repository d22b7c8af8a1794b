"""Routes: one file per noun, each with an `APIRouter` called `router`."""
