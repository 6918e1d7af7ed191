"""MLflow's runs and the databases of MLflow and Optuna: what every stage that trains, judges or registers shares."""
