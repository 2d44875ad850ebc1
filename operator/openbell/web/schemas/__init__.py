"""The API's answers: pydantic models made from the view's values, a module for each of the routes'."""
