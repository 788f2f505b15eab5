import os


def crash_after_commit(get_response):
    """Ends the process where CRASH_AFTER_COMMIT is set: the event is applied, and the service hears nothing."""
    def middleware(request):
        response = get_response(request)
        if "CRASH_AFTER_COMMIT" in os.environ and response.status_code == 204:
            os._exit(1)
        return response
    return middleware
