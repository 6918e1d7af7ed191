"""MLflow's runs and the databases of MLflow and Optuna: what the stages that train, register and report share."""
