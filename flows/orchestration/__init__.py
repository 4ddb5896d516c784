"""What Prefect's server and its workers must know: deployments, work pools, automations, lost runs."""
