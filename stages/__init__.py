"""DVC stages, one script each; the only place that knows dvc, mlflow and optuna."""
