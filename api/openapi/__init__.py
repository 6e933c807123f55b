"""The OpenAPI document: made from the views themselves, so it names exactly what is served."""
