"""The REST and WebSocket API and the dashboard page, inside the runner's loop. FastAPI stays in this room."""
