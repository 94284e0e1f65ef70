"""What a Celery worker imports before it forks, as `local.executor` does on one machine.

AIRFLOW__CELERY__EXTRA_CELERY_CONFIG='{"imports": ["local.warm_worker"]}'
"""

from local.executor import load

load()
