"""The operator: Kopf tells what changed, a work queue orders it, reconcile applies the difference. It never trades."""
