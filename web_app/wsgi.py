"""The application for gunicorn: `gunicorn -c web_app/gunicorn.conf.py web_app.wsgi:app`."""

from web_app.app import create_app
from web_app.logs import configure_logging
from web_app.settings import Settings

settings = Settings()
configure_logging(settings.log_level)
app = create_app(settings)
