"""A stand-in for Ray that runs tasks at once; tests/cli/test_ray.py has a real one."""

from types import SimpleNamespace


class RayError(Exception):
    """Ray's own."""


class RayTaskError(RayError):
    """An exception of a task."""


class FakeRay:
    """Runs each task when it is sent, in this process; says what it was asked."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, resources, nodes=None):
        self.resources, self.asked, self.cancelled, self.up = resources, {}, [], False
        self.given_nodes = nodes

    def nodes(self):
        given = [self.resources] if self.given_nodes is None else self.given_nodes
        return [{"Alive": True, "Resources": each} for each in given] + [{"Alive": False, "Resources": {"CPU": 512.0}}]

    def is_initialized(self):
        return self.up

    def init(self, **_):
        self.up = True
        print("a node was lost")  # noqa: T201  # as Ray does

    def shutdown(self):
        self.up = False

    def cluster_resources(self):
        return self.resources

    def put(self, value):
        return value

    def remote(self, function):
        def send(*args):
            try:
                return ("made", function(*args))
            except RayError as error:
                return ("lost", error)
            except Exception as error:
                return ("lost", RayTaskError(f"{type(error).__name__}: {error}"))

        def options(**asked):
            self.asked = asked
            return SimpleNamespace(remote=send)

        return SimpleNamespace(options=options)

    def wait(self, running, timeout):
        assert timeout > 0
        return running[:1], running[1:]

    def get(self, each):
        if each[0] == "lost":
            raise each[1]
        return each[1]

    def cancel(self, each, force):
        assert force
        self.cancelled.append(each)
