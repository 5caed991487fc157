"""From a call to IAM's query API to its answer."""

from __future__ import annotations

from typing import Final

from blockdev.clock import Clock
from objstore.auth.keys import KeyStore
from objstore.auth.service import ServiceAuthenticator, Signer
from objstore.aws.http import Call, Reply
from objstore.aws.query import Node, parse
from objstore.aws.xml import DECLARATION, Tree, element
from objstore.config import MAX_IAM_BODY_BYTES
from objstore.iam import Directory
from objstore.iam_api.errors import ApiError, to_reply
from objstore.iam_api.job import BucketPolicy, Job
from objstore.iam_api.table import ACTIONS, Handler, known_actions

SERVICE: Final = "iam"
VERSION: Final = "2010-05-08"
NAMESPACE: Final = f"https://iam.amazonaws.com/doc/{VERSION}/"


class IamFace:
    """Answers IAM's actions.  Safe to share between threads.

    Args:
        skew_s: how far a client's clock may differ.
        bucket_policy: looks up what `objstore explain` has to know of a bucket.
    """

    service = SERVICE
    version = VERSION
    namespace = NAMESPACE

    def __init__(
        self,
        directory: Directory,
        keys: KeyStore,
        clock: Clock,
        *,
        skew_s: int = 900,
        bucket_policy: BucketPolicy | None = None,
    ) -> None:
        self._directory = directory
        self._bucket_policy = bucket_policy
        self._clock = clock
        self._authenticator = ServiceAuthenticator(keys, clock, service=self.service, skew_s=skew_s)

    @property
    def max_body_bytes(self) -> int:
        """The longest form that is read."""
        return MAX_IAM_BODY_BYTES

    def refuse_length(self, call: Call) -> Reply:
        """The form is too long."""
        message = f"The request is longer than {MAX_IAM_BODY_BYTES} bytes"
        return to_reply(call, ApiError("RequestEntityTooLarge", message, 413), self.namespace)

    def answer(self, call: Call) -> Reply:
        """Authenticate, find the action, do it."""
        try:
            return self._answer(call)
        except Exception as error:
            return to_reply(call, error, self.namespace)

    def _answer(self, call: Call) -> Reply:
        parameters = parse(b"&".join(part for part in (call.raw_query, call.body) if part))
        named = parameters.get("Action")
        call.action = named if isinstance(named, str) else ""
        signer = call.signer = self._signer(call, parameters)
        name, handler = self._action(parameters)
        job = self._job(name, signer, parameters)
        return self._reply(call, name, handler(job))

    def _signer(self, call: Call, parameters: dict[str, Node]) -> Signer:
        return self._authenticator.authenticate(
            call.method, call.raw_path, call.raw_query, call.headers, call.body
        )

    def _job(self, name: str, signer: Signer, parameters: dict[str, Node]) -> Job:
        return Job(
            name,
            self._directory,
            signer.identity,
            signer.access_key,
            parameters,
            self.service,
            self._clock.now_ns() // 1_000_000,
            self._bucket_policy,
        )

    def _action(self, parameters: dict[str, Node]) -> tuple[str, Handler]:
        name, version = parameters.pop("Action", None), parameters.pop("Version", self.version)
        if not isinstance(name, str) or not name:
            raise ApiError("MissingAction", "The request must contain the parameter Action")
        if version != self.version:
            raise ApiError("NoSuchVersion", f"The requested version ({version}) does not exist")
        handler = self._find(name)
        if handler is None:
            raise ApiError("InvalidAction", f"Could not find operation {name} for this version")
        return name, handler

    def _find(self, name: str) -> Handler | None:
        if name not in ACTIONS and name in known_actions():
            raise ApiError(
                "NotImplemented", f"The action {name} is not supported by this server", 501
            )
        return ACTIONS.get(name)

    def _reply(self, call: Call, name: str, told: Tree) -> Reply:
        inner = "".join(element(each, value, "member") for each, value in told.items())
        result = f"<{name}Result>{inner}</{name}Result>" if told else ""
        body = (
            f'{DECLARATION}<{name}Response xmlns="{self.namespace}">{result}<ResponseMetadata>'
            f"<RequestId>{call.request_id}</RequestId></ResponseMetadata></{name}Response>"
        )
        return Reply(200, body.encode(), [(b"content-type", b"text/xml")])
