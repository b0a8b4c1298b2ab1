"""Which calls does the application door offer: one table, from which routes and OpenAPI document are made."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel

from gateway.api.application import authentication_forms, models, policy_forms, views
from gateway.api.application.asking import PAGE_MOST, Ask
from gateway.api.application.handlers import (
    accounts,
    authentications,
    contents,
    events,
    policies,
    transactions,
)
from gateway.api.problems import Reply
from gateway.scenarios.context import Context

Handler = Callable[[Context, Ask], Awaitable[Reply]]
_SMALL = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One parameter of the query string: text of a form, or a whole number within bounds."""

    name: str
    about: str
    pattern: str = r"0|[1-9]\d{0,14}"
    bounds: tuple[int, int] | None = None

    def takes(self, value: str) -> bool:
        """Say whether the value is of the form."""
        if re.fullmatch(self.pattern, value, re.ASCII) is None:  # digits are those of OpenAPI
            return False
        return self.bounds is None or self.bounds[0] <= int(value) <= self.bounds[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: how it is reached, what it needs, what it takes and gives."""

    method: str
    path: str
    name: str
    about: str
    scope: str
    handler: Handler
    gives: type[BaseModel]
    takes: type[BaseModel] | None = None
    statuses: tuple[int, ...] = (200,)
    query: tuple[Query, ...] = ()
    key_required: bool = False
    key_accepted: bool = False
    carries_content: bool = False
    is_content: bool = False  # its body is content by itself, read while it comes
    follows: bool = False  # answers with server-sent events, each of which is what ``gives`` says
    carries_secret: bool = False  # of its body no plain hash is kept, or the secret could be searched for
    problems: tuple[str, ...] = ()

    def body_most(self, content_bytes_most: int) -> int:
        """Return the most bytes of a body: content grows by a third in base64, by up to six in escaped text."""
        return content_bytes_most * 3 // 2 + _SMALL if self.carries_content else _SMALL


_NUMBERS = (0, 10**15 - 1)
_LIMIT = Query(name="limit", about="most entries", bounds=(1, PAGE_MOST))
_ID = r"[A-Za-z0-9_]{1,64}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_USER = "/v1/users/{user_id}"
_ABOUT = (
    Query(name="user", about="only about this user", pattern=r"[^\x00]{1,64}"),
    Query(name="keyset", about="only about this keyset", pattern=_ID),
    Query(name="transaction", about="only about this transaction", pattern=_ID),
    Query(name="type", about="only of this type", pattern=r"[a-z_.]{1,64}"),
)

CALLS: tuple[Call, ...] = (
    Call(method="PUT", path=_USER, name="createUser", about="Create a user, or see that it is there.",
         scope="user:write", handler=accounts.put_user, takes=models.Empty, gives=views.UserView,
         statuses=(200, 201), problems=("user_deleted",)),
    Call(method="GET", path=_USER, name="getUser", about="Read a user with its keysets and devices.",
         scope="user:read", handler=accounts.get_user, gives=views.UserView, problems=("not_found",)),
    Call(method="DELETE", path=_USER, name="deleteUser",
         about="Delete a user: its keys end, its id is never used again, old signatures still verify.",
         scope="user:delete", handler=accounts.delete_user, gives=views.UserView, problems=("not_found",)),
    Call(method="POST", path=_USER + "/block", name="blockUser", about="Block a user until it is unblocked.",
         scope="user:block", handler=accounts.block_user, takes=models.BlockUser, gives=views.UserView,
         problems=("not_found", "user_deleted")),
    Call(method="POST", path=_USER + "/unblock", name="unblockUser", about="Unblock a user.",
         scope="user:unblock", handler=accounts.unblock_user, takes=models.Empty, gives=views.UserView,
         problems=("not_found", "user_deleted", "integrity_failure")),
    Call(method="PUT", path=_USER + "/settings", name="putUserSettings",
         about="Decide flags and password rules for one user alone; what is not named is as in the policy.",
         scope="user:settings", handler=policies.put_settings, takes=policy_forms.PutUserSettings,
         gives=views.UserView,
         problems=("not_found", "user_blocked", "user_deleted", "concurrent_change")),
    Call(method="POST", path=_USER + "/keysets", name="issueKeyset",
         about="Make new keys in the HSM and get their package, once. For one more device where the policy has room, "
               "else in place of the keys before, or of those of the device that is named.",
         scope="keyset:issue", handler=accounts.issue_keyset, takes=models.IssueKeyset,
         gives=views.IssuedKeyset, statuses=(201,), key_accepted=True, carries_secret=True,
         problems=("not_found", "user_blocked", "user_deleted", "devices_full", "not_allowed_by_policy",
                   "already_delivered", "idempotency_mismatch", "in_progress", "concurrent_change", "integrity_failure",
                   "delivery_unavailable")),
    Call(method="GET", path=_USER + "/keysets", name="listKeysets", about="Read every keyset of a user.",
         scope="user:read", handler=accounts.list_keysets, gives=views.KeysetList, problems=("not_found",)),
    Call(method="GET", path=_USER + "/devices", name="listDevices", about="Read every device of a user.",
         scope="user:read", handler=accounts.list_devices, gives=views.DeviceList, problems=("not_found",)),
    Call(method="GET", path=_USER + "/devices/{device_id}", name="getDevice", about="Read one device of a user.",
         scope="user:read", handler=accounts.get_device, gives=views.FullDeviceView, problems=("not_found",)),
    Call(method="DELETE", path=_USER + "/devices/{device_id}", name="removeDevice",
         about="Remove one device of a user: its keys end and only verify, the other devices go on.",
         scope="device:delete", handler=accounts.remove_device, gives=views.FullDeviceView,
         problems=("not_found", "concurrent_change", "integrity_failure")),
    Call(method="GET", path=_USER + "/answers", name="listAnswers",
         about="Read a page of what the user answered, with which keys and device, oldest first.",
         scope="transaction:read", handler=transactions.list_answers, gives=views.AnswerList,
         query=(Query(name="keyset", about="only with this keyset", pattern=_ID),
                Query(name="device", about="only from this device", pattern=_ID),
                Query(name="since", about="only from this time on", pattern=_TIME),
                Query(name="until", about="only before this time", pattern=_TIME),
                Query(name="after", about="the `next` of the page before", pattern=_ID), _LIMIT),
         problems=("not_found",)),
    Call(method="POST", path=_USER + "/keysets/{keyset_id}/activation-code", name="fetchActivationCode",
         about="Get the activation code of a keyset, once, to be sent over another channel than the QR code.",
         scope="keyset:activation-code", handler=accounts.fetch_code, takes=models.Empty,
         gives=views.ActivationCode,
         problems=("not_found", "keyset_not_open", "already_delivered", "user_blocked", "user_deleted",
                   "integrity_failure")),
    Call(method="POST", path="/v1/contents", name="uploadContent",
         about="Hand in content by itself, as it is, for one transaction that names it within an hour.",
         scope="transaction:write", handler=contents.receive, gives=views.ContentView, statuses=(201,),
         is_content=True, problems=("unsupported_media_type", "too_many_uploads")),
    Call(method="POST", path="/v1/transactions", name="createTransaction",
         about="Ask a user to confirm something.", scope="transaction:write",
         handler=transactions.create, takes=models.CreateTransaction, gives=views.TransactionView,
         statuses=(201,), key_required=True, key_accepted=True, carries_content=True,
         problems=("not_found", "user_blocked", "user_deleted", "no_active_keys", "not_allowed_by_policy",
                   "too_many_pending", "idempotency_mismatch", "in_progress", "integrity_failure")),
    Call(method="GET", path="/v1/transactions", name="listTransactions",
         about="Read a page of transactions, newest first.", scope="transaction:read",
         handler=transactions.list_page, gives=views.TransactionList,
         query=(Query(name="user", about="only this user's", pattern=r"[^\x00]{1,64}"),
                Query(name="status", about="only in this state",
                      pattern=r"pending|confirmed|declined|cancelled"),
                Query(name="after", about="the `next` of the page before", pattern=_ID), _LIMIT)),
    Call(method="GET", path="/v1/transactions/{transaction_id}", name="getTransaction",
         about="Read a transaction; with `wait` the answer comes when it is settled or the time is over.",
         scope="transaction:read", handler=transactions.get, gives=views.TransactionView,
         query=(Query(name="wait", about="seconds to wait", bounds=(0, 30)),),
         problems=("not_found",)),
    Call(method="POST", path="/v1/transactions/{transaction_id}/cancel", name="cancelTransaction",
         about="Cancel a pending transaction.", scope="transaction:write", handler=transactions.cancel,
         takes=models.CancelTransaction, gives=views.TransactionView,
         problems=("not_found", "transaction_settled")),
    Call(method="GET", path="/v1/transactions/{transaction_id}/qr", name="getTransactionQr",
         about="Get the whole transaction as a QR code, for a phone without a network.",
         scope="transaction:read", handler=transactions.show_qr, gives=views.OfflineForm,
         problems=("not_found", "not_allowed_by_policy", "transaction_settled", "integrity_failure")),
    Call(method="POST", path="/v1/transactions/{transaction_id}/code", name="submitCode",
         about="Approve with the short code the user read from the phone. A wrong one counts as a failure.",
         scope="transaction:write", handler=transactions.submit_code, takes=models.SubmitCode,
         gives=views.TransactionView, carries_secret=True,
         problems=("not_found", "not_allowed_by_policy", "no_active_keys", "user_blocked", "user_deleted",
                   "proof_refused", "score_too_high", "transaction_settled", "transaction_expired",
                   "integrity_failure")),
    Call(method="POST", path="/v1/authentications", name="passAuthenticationOn",
         about="Authenticate a user by what the phone gave the application: content made by a rule, or digits. Once.",
         scope="transaction:write", handler=authentications.pass_on, takes=authentication_forms.PassAuthenticationOn,
         gives=authentication_forms.AuthenticationView, statuses=(201,), carries_secret=True,
         problems=("not_found", "user_blocked", "user_deleted", "no_active_keys", "not_allowed_by_policy",
                   "proof_refused", "score_too_high", "already_used", "integrity_failure")),
    Call(method="GET", path="/v1/authentications/{authentication_id}", name="getAuthentication",
         about="Read an authentication.", scope="transaction:read", handler=authentications.get,
         gives=authentication_forms.AuthenticationView, problems=("not_found",)),
    Call(method="GET", path=_USER + "/authentications", name="listAuthentications",
         about="Read a page of a user's authentications by content of the phone, newest first.",
         scope="transaction:read", handler=authentications.list_page, gives=authentication_forms.AuthenticationList,
         query=(Query(name="after", about="the `next` of the page before", pattern=_ID), _LIMIT),
         problems=("not_found",)),
    Call(method="POST", path="/v1/signatures/verify", name="verifySignature",
         about="Verify a past answer or authentication with the keys of its time.", scope="signature:verify",
         handler=transactions.verify, takes=models.VerifySignature, gives=views.Verdict,
         carries_content=True, problems=("not_found", "integrity_failure")),
    Call(method="GET", path="/v1/events", name="listEvents", about="Read a page of the event log, oldest first.",
         scope="event:read", handler=events.list_events, gives=views.EventList,
         query=(*_ABOUT,
                Query(name="after", about="the `next` of the page before", bounds=_NUMBERS),
                _LIMIT)),
    Call(method="GET", path="/v1/events/stream", name="followEvents",
         about="Follow the event log as it grows: server-sent events, from now on, after a number, or after "
         "`Last-Event-ID`.", scope="event:read", handler=events.follow_events, gives=views.EventView,
         follows=True,
         query=(*_ABOUT, Query(name="after", about="begin after the event of this number", bounds=_NUMBERS)),
         problems=("too_many_streams",)),
    Call(method="GET", path="/v1/policy", name="getPolicy", about="Read the policy in force.",
         scope="policy:read", handler=policies.get_policy, gives=views.PolicyView),
    Call(method="PUT", path="/v1/policy", name="putPolicy",
         about="Put a policy in force; what is not named has its default.", scope="policy:write",
         handler=policies.put_policy, takes=models.PutPolicy, gives=views.PolicyView),
    Call(method="GET", path="/v1/policy/versions", name="listPolicyVersions",
         about="Read a page of the policies there were, oldest first, each with the time from which it was in force.",
         scope="policy:read", handler=policies.list_versions, gives=policy_forms.PolicyVersionList,
         query=(Query(name="after", about="the `next` of the page before", bounds=(0, 10**9 - 1)),
                _LIMIT)),
    Call(method="GET", path="/v1/policy/versions/{version}", name="getPolicyVersion",
         about="Read the policy of the version that a transaction or keyset names.", scope="policy:read",
         handler=policies.get_version, gives=policy_forms.PolicyVersionView, problems=("not_found",)),
    Call(method="POST", path="/v1/webhook-secret", name="rotateWebhookSecret",
         about="Make the next callback secret and see it, once. For 24 hours callbacks carry both seals.",
         scope="webhook:rotate", handler=accounts.rotate_secret, takes=models.Empty,
         gives=views.WebhookSecret, problems=("concurrent_change",)),
)  # fmt: skip
