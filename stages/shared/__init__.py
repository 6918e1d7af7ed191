"""What several stages share: parameters and outputs, trainings, runs, studies, executors."""
