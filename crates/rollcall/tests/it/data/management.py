"""Drives every call of the management API that the hub has with the product's official client, and reads back what it sets.

Reads its settings as JSON from the standard input, and writes which calls there are and which were made.
"""

import json
import sys

from alibabacloud_eiam20211201 import models
from alibabacloud_eiam20211201.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

settings = json.load(sys.stdin)
instance, application = settings["instance"], settings["application"]


def connected(key, secret):
    return Client(Config(endpoint=settings["endpoint"], protocol=settings["protocol"], ca=settings.get("ca"),
                         access_key_id=key, access_key_secret=secret))


client = connected(settings["key"], settings["secret"])
auditor = connected(settings["auditor_key"], settings["auditor_secret"])
called = set()
runtime = RuntimeOptions(ca=settings.get("ca"))


def pascal(name):
    return "".join(part.capitalize() for part in name.split("_"))


def call(name, by=None, **fields):
    """Makes a call and returns the body of its answer."""
    called.add(name)
    request = getattr(models, pascal(name) + "Request")(instance_id=fields.pop("instance_id", instance), **fields)
    body = getattr(by or client, name + "_with_options")(request, runtime).body
    assert body.request_id.startswith("req_"), body.request_id
    return body


def refused(code, answer, name, by=None, **fields):
    """Makes a call that must be refused so."""
    try:
        call(name, by, **fields)
    except Exception as error:
        assert error.code == code, (name, error.code, error.message)
        assert error.status_code == answer, (name, error.status_code)
        assert error.request_id.startswith("req_"), (name, error.request_id)
        return
    raise AssertionError(f"{name} was not refused with {code}")


def same(found, **wanted):
    for name, value in wanted.items():
        there = getattr(found, name)
        assert there == value, f"{name}: {there!r}, and not {value!r}"


# Signatures.
refused("SignatureDoesNotMatch", 400, "get_user", connected(settings["key"], settings["secret"] + "x"), user_id="user_x")
refused("InvalidAccessKeyId.NotFound", 404, "get_user", connected("tok_nobody", settings["secret"]), user_id="user_x")
refused("ResourceNotFound.Instance", 404, "get_user", user_id="user_x", instance_id="idaas_other")

# Organizational units.
root = call("get_root_organizational_unit").organizational_unit
same(root, instance_id=instance, organizational_unit_id=settings["root"])
optics = call("create_organizational_unit", organizational_unit_name="光学", parent_id=settings["root"],
              description="a b*~/é&=", organizational_unit_external_id="opt-1").organizational_unit_id
found = call("get_organizational_unit", organizational_unit_id=optics).organizational_unit
same(found, organizational_unit_name="光学", parent_id=settings["root"], description="a b*~/é&=",
     organizational_unit_external_id="opt-1", organizational_unit_source_type="build_in",
     organizational_unit_source_id=instance)
lasers = call("create_organizational_unit", organizational_unit_name="Lasers",
              parent_id=settings["root"]).organizational_unit_id
call("update_organizational_unit", organizational_unit_id=optics, organizational_unit_name="Optics")
call("update_organizational_unit_description", organizational_unit_id=optics, description="lenses")
call("update_organizational_unit_parent_id", organizational_unit_id=lasers, parent_id=optics)
found = call("get_organizational_unit", organizational_unit_id=optics).organizational_unit
same(found, organizational_unit_name="Optics", description="lenses")
parents = call("list_organizational_unit_parents", organizational_unit_id=lasers).parents
assert [(one.organizational_unit_id, one.parent_id) for one in parents] == [
    (optics, settings["root"]), (settings["root"], None)], parents
page = call("list_organizational_units", parent_id=optics, page_number=1, page_size=10)
assert page.total_count == 1 and page.organizational_units[0].organizational_unit_id == lasers

# Users.
custom = [models.CreateUserRequestCustomFields(field_name="desk", field_value="12")]
ada = call("create_user", username="ada", display_name="Ada 洛芙莱斯", email="ada@example.org", email_verified=True,
           phone_region="86", phone_number="13900000001", phone_number_verified=True, description="first",
           user_external_id="e-1", primary_organizational_unit_id=optics, organizational_unit_ids=[lasers],
           password="correct horse battery", custom_fields=custom).user_id
found = call("get_user", user_id=ada).user
same(found, instance_id=instance, username="ada", display_name="Ada 洛芙莱斯", email="ada@example.org",
     email_verified=True, phone_region="86", phone_number="13900000001", phone_number_verified=True,
     description="first", user_external_id="e-1", status="enabled", password_set=True,
     primary_organizational_unit_id=optics)
assert {place.organizational_unit_id: place.primary for place in found.organizational_units} == {
    optics: True, lasers: False}
assert [(field.field_name, field.field_value) for field in found.custom_fields] == [("desk", "12")]
call("update_user", user_id=ada, username="ada.l", display_name="Ada", email_verified=False, custom_fields=[
    models.UpdateUserRequestCustomFields(field_name="desk", field_value="13", operation="replace"),
    models.UpdateUserRequestCustomFields(field_name="room", field_value="4", operation="add")])
call("update_user_description", user_id=ada, description="")
call("update_user_password", user_id=ada, password="another horse battery")
found = call("get_user", user_id=ada).user
same(found, username="ada.l", display_name="Ada", email="ada@example.org", email_verified=False, description=None)
assert {field.field_name: field.field_value for field in found.custom_fields} == {"desk": "13", "room": "4"}
call("disable_user", user_id=ada)
same(call("get_user", user_id=ada).user, status="disabled")
call("enable_user", user_id=ada)
call("unlock_user", user_id=ada)
same(call("get_user", user_id=ada).user, status="enabled", lock_expire_time=None)
call("set_user_primary_organizational_unit", user_id=ada, organizational_unit_id=lasers)
call("remove_user_from_organizational_units", user_id=ada, organizational_unit_ids=[optics])
same(call("get_user", user_id=ada).user, primary_organizational_unit_id=lasers)
call("add_user_to_organizational_units", user_id=ada, organizational_unit_ids=[optics])
for number in range(5):
    call("create_user", username=f"many-{number}", primary_organizational_unit_id=optics)
names = []
for number in (1, 2, 3):
    page = call("list_users", organizational_unit_id=optics, page_number=number, page_size=2)
    assert page.total_count == 6, page.total_count
    names += [one.username for one in page.users]
assert sorted(names) == ["ada.l"] + [f"many-{number}" for number in range(5)], names


def everybody(**fields):
    """The usernames of a list of users, read by tokens, which has to say the same by numbers."""
    found, token = [], None
    while True:
        page = call("list_users", max_results=2, next_token=token, **fields)
        assert page.max_results == 2 and len(page.users) <= 2
        found += [one.username for one in page.users]
        token = page.next_token
        if not token:
            break
    assert page.total_count == len(found), (page.total_count, found)
    by_number = call("list_users", page_size=100, **fields)
    assert [one.username for one in by_number.users] == found and by_number.next_token is None
    assert by_number.total_count == len(found)
    return sorted(found)


many = [f"many-{number}" for number in range(5)]
assert everybody() == ["ada.l"] + many
assert everybody(organizational_unit_id=optics) == ["ada.l"] + many
assert everybody(organizational_unit_id=lasers) == ["ada.l"]
assert everybody(username_starts_with="MANY") == many
assert everybody(username_starts_with="many-3") == ["many-3"]
assert everybody(username_starts_with="any") == []
assert everybody(display_name_starts_with="Ad") == ["ada.l"]
assert everybody(display_name_starts_with="ad") == []
assert everybody(email="ADA@example.org") == ["ada.l"]
assert everybody(phone_region="86", phone_number="13900000001") == ["ada.l"]
assert everybody(phone_number="13900000001") == ["ada.l"]
assert everybody(phone_region="86") == ["ada.l"]
assert everybody(phone_region="49", phone_number="13900000001") == []
assert everybody(user_external_id="e-1") == ["ada.l"]
assert everybody(user_external_id="e-1", user_source_type="build_in", user_source_id=instance) == ["ada.l"]
assert everybody(user_external_id="e-1", user_source_type="ldap") == []
assert everybody(user_source_type="build_in") == ["ada.l"] + many
assert everybody(user_source_id="other") == []
assert everybody(user_external_id=ada) == [], "who was given an external id does not bear the own id"
second = call("list_users", username_starts_with="many-1").users[0].user_id
assert everybody(user_external_id=second) == ["many-1"]
assert everybody(user_ids=[ada, second, "user_nobody"]) == ["ada.l", "many-1"]
assert everybody(user_ids=[ada, second], organizational_unit_id=lasers) == ["ada.l"]
call("disable_user", user_id=second)
assert everybody(status="disabled") == ["many-1"]
assert everybody(status="enabled", username_starts_with="many") == ["many-0", "many-2", "many-3", "many-4"]
call("enable_user", user_id=second)
refused("InvalidParameter.Status", 400, "list_users", status="locked")
refused("InvalidParameter.PageNumber", 400, "list_users", page_number=2, max_results=2)
refused("InvalidParameter.NextToken", 400, "list_users", next_token="*")
refused("ResourceNotFound.OrganizationalUnit", 404, "list_users", organizational_unit_id="ou_nothing")

# A user is created once under a client token.
asked = dict(client_token="3a7e", username="once", display_name="Once", primary_organizational_unit_id=optics)
once = call("create_user", **asked).user_id
assert call("create_user", **asked).user_id == once
refused("IdempotentParameterMismatch", 400, "create_user", **{**asked, "display_name": "Twice"})
refused("ResourceDuplicated.Username", 403, "create_user", **{**asked, "client_token": "3a7f"})
refused("InvalidParameter.ClientToken", 400, "create_user", **{**asked, "client_token": "x" * 65})
# One that was refused is judged anew.
later = dict(client_token="3a80", username="later", primary_organizational_unit_id="ou_nothing")
refused("ResourceNotFound.OrganizationalUnit", 404, "create_user", **later)
later = call("create_user", **{**later, "primary_organizational_unit_id": optics}).user_id

# Users are deleted all together, or none of them.
refused("ResourceNotFound.User", 404, "delete_users", user_ids=[once, later, "user_nobody"])
assert everybody(user_ids=[once, later]) == ["later", "once"]
refused("MissingParameter.UserIds", 400, "delete_users")
call("delete_users", user_ids=[once, later, once])
assert everybody(user_ids=[once, later]) == []

# Organizational units, as they are looked for.
found = call("list_organizational_units")
assert [one.organizational_unit_id for one in found.organizational_units] == [optics], found
for fields, expected in [
    (dict(organizational_unit_name="lasers"), [lasers]),
    (dict(organizational_unit_name="laser"), []),
    (dict(organizational_unit_name_starts_with="LAS"), [lasers]),
    (dict(organizational_unit_name_starts_with="opt"), [optics]),
    (dict(organizational_unit_ids=[lasers, optics, "ou_nothing"]), sorted([lasers, optics])),
    (dict(organizational_unit_ids=[lasers, optics], parent_id=optics), [lasers]),
    (dict(organizational_unit_name_starts_with="opt", parent_id=optics), []),
]:
    page = call("list_organizational_units", **fields)
    assert [one.organizational_unit_id for one in page.organizational_units] == expected, fields
    assert page.total_count == len(expected)
# A unit goes with all that is below it.
top = call("create_organizational_unit", organizational_unit_name="Top", parent_id=settings["root"])
below = call("create_organizational_unit", organizational_unit_name="Below", parent_id=top.organizational_unit_id)
inside = call("create_user", username="inside", primary_organizational_unit_id=below.organizational_unit_id).user_id
refused("OperationDenied.OrganizationalUnitNotEmpty", 403, "delete_organizational_unit",
        organizational_unit_id=top.organizational_unit_id)
call("delete_organizational_unit_children", organizational_unit_id=top.organizational_unit_id)
for unit in (top, below):
    refused("ResourceNotFound.OrganizationalUnit", 404, "get_organizational_unit",
            organizational_unit_id=unit.organizational_unit_id)
refused("ResourceNotFound.User", 404, "get_user", user_id=inside)
refused("OperationDenied.RootOrganizationalUnit", 403, "delete_organizational_unit_children",
        organizational_unit_id=settings["root"])

# Groups.
staff = call("create_group", group_name="Staff", description="all", group_external_id="g-1").group_id
call("update_group", group_id=staff, group_name="All staff", group_external_id="g-2")
call("update_group_description", group_id=staff, description="everybody")
found = call("get_group", group_id=staff).group
same(found, instance_id=instance, group_name="All staff", group_external_id="g-2", description="everybody")
page = call("list_groups", group_name_starts_with="all", page_number=1, page_size=10)
assert page.total_count == 1 and page.groups[0].group_id == staff
others = [call("create_group", group_name=f"Team {number}").group_id for number in range(3)]
for fields, expected in [
    (dict(), [staff] + others),
    (dict(group_name="ALL STAFF"), [staff]),
    (dict(group_name="all"), []),
    (dict(group_name_starts_with="team"), others),
    (dict(group_external_id="g-2"), [staff]),
    (dict(group_external_id=others[0]), [others[0]]),
    (dict(group_ids=[others[1], staff, "group_nothing"]), [staff, others[1]]),
    (dict(group_ids=[others[1], staff], group_name_starts_with="team"), [others[1]]),
]:
    page = call("list_groups", **fields)
    assert [one.group_id for one in page.groups] == sorted(expected), (fields, page)
    assert page.total_count == len(expected)
page = call("list_groups", page_number=2, page_size=3)
assert [one.group_id for one in page.groups] == sorted([staff] + others)[3:] and page.total_count == 4
call("add_users_to_group", group_id=staff, user_ids=[ada, second])
page = call("list_users_for_group", group_id=staff, user_ids=[second, "user_nobody"])
assert [one.user_id for one in page.users] == [second] and page.total_count == 1
page = call("list_users_for_group", group_id=staff, page_number=2, page_size=1)
assert [one.user_id for one in page.users] == sorted([ada, second])[1:] and page.total_count == 2
call("remove_users_from_group", group_id=staff, user_ids=[second])
page = call("list_users_for_group", group_id=staff, page_number=1, page_size=10)
assert [one.user_id for one in page.users] == [ada] and page.total_count == 1
page = call("list_groups_for_user", user_id=ada, page_number=1, page_size=10)
assert [one.group_id for one in page.groups] == [staff]
call("remove_users_from_group", group_id=staff, user_ids=[ada])
assert call("list_users_for_group", group_id=staff).total_count == 0

# Provisioning.
call("disable_application_provisioning", application_id=application)
config = call("get_application_provisioning_config", application_id=application).application_provisioning_config
same(config, instance_id=instance, application_id=application, status="disabled",
     provision_protocol_type="idaas_callback", provision_password=False)
assert config.provision_jwks_endpoint.endswith(f"/v2/{instance}/{application}/provisioning/jwks")
events = ["urn:alibaba:idaas:app:event:ud:user:create", "urn:alibaba:idaas:app:event:ud:user:delete"]
call("set_application_provisioning_config", application_id=application, provision_protocol_type="idaas_callback",
     provision_password=True, callback_provisioning_config=
     models.SetApplicationProvisioningConfigRequestCallbackProvisioningConfig(
         callback_url=settings["callback"], encrypt_required=True, encrypt_key="00112233445566778899aabbccddeeff" * 2,
         listen_event_scopes=events))
config = call("get_application_provisioning_config", application_id=application).application_provisioning_config
same(config, provision_password=True)
same(config.callback_provisioning_config, callback_url=settings["callback"], encrypt_required=True, encrypt_key=None)
assert sorted(config.callback_provisioning_config.listen_event_scopes) == events, config
refused("OperationDenied.SynchronizationJob", 403, "set_application_provisioning_scope",
        application_id=application, organizational_unit_ids=[optics])
call("enable_application_provisioning", application_id=application)
call("set_application_provisioning_scope", application_id=application, organizational_unit_ids=[optics],
     group_ids=[staff])
scope = call("get_application_provisioning_scope", application_id=application).application_provisioning_scope
same(scope, organizational_unit_ids=[optics], group_ids=[staff])
jobs = call("list_synchronization_jobs", target_ids=[application], target_type="application")
assert jobs.total_count == 1 and jobs.synchronization_jobs[0].target_id == application
same(jobs.synchronization_jobs[0], direction="egress", target_type="application", trigger_type="manual")
refused("OperationDenied.SynchronizationJob", 403, "run_synchronization_job", target_id=application,
        target_type="application")
full = settings["other"]
job = call("run_synchronization_job", target_id=full, target_type="application").synchronization_job_id
first = jobs.synchronization_jobs[0]


def listed(**fields):
    """The ids of a list of jobs, read by tokens, which has to say the same by numbers."""
    found, token = [], None
    while True:
        page = call("list_synchronization_jobs", max_results=1, next_token=token, **fields)
        found += [one.synchronization_job_id for one in page.synchronization_jobs]
        token = page.next_token
        if not token:
            break
    by_number = call("list_synchronization_jobs", page_number=1, page_size=10, **fields)
    assert [one.synchronization_job_id for one in by_number.synchronization_jobs] == found
    assert by_number.total_count == page.total_count == len(found)
    return found


both = [job, first.synchronization_job_id]
assert listed() == both
assert listed(target_ids=[application]) == both[1:] and listed(target_ids=[application, full]) == both
assert listed(target_ids=["app_nothing"]) == []
assert listed(target_type="application", direction="egress") == both
assert listed(target_type="identity_provider") == [] and listed(direction="ingress") == []
assert listed(status="pending") == both and listed(status="success") == []
assert listed(start_time=first.start_time) == both and listed(end_time=first.start_time - 1) == []
refused("InvalidParameter.Status", 400, "list_synchronization_jobs", status="over")
refused("InvalidParameter.Direction", 400, "list_synchronization_jobs", direction="up")
refused("UnsupportedParameter.TargetType", 400, "run_synchronization_job", target_id=full,
        target_type="identity_provider")
found = call("get_synchronization_job", synchronization_job_id=job).synchronization_job
same(found, synchronization_job_id=job, target_id=full, direction="egress", status="pending", end_time=None)
assert found.result.user_statistics.pushed.total == 0
call("set_application_provisioning_config", application_id=full, provision_protocol_type="scim2",
     scim_provisioning_config=models.SetApplicationProvisioningConfigRequestScimProvisioningConfig(
         scim_base_url="https://scim.example.com/v2",
         provisioning_actions=["urn:alibaba:idaas:app:scim:User:CREATE"],
         authn_configuration=models.SetApplicationProvisioningConfigRequestScimProvisioningConfigAuthnConfiguration(
             authn_mode="oauth2", grant_type="client_credentials", authn_param=
             models.SetApplicationProvisioningConfigRequestScimProvisioningConfigAuthnConfigurationAuthnParam(
                 client_id="hub", client_secret="hush", token_endpoint="https://scim.example.com/token",
                 authn_method="client_secret_post"))))
config = call("get_application_provisioning_config", application_id=full).application_provisioning_config
same(config, provision_protocol_type="scim2")
same(config.scim_provisioning_config, scim_base_url="https://scim.example.com/v2",
     provisioning_actions=["urn:alibaba:idaas:app:scim:User:CREATE"])
param = config.scim_provisioning_config.authn_configuration.authn_param
same(param, client_id="hub", client_secret=None, token_endpoint="https://scim.example.com/token",
     authn_method="client_secret_post")

# What contradicts itself.
scim = models.SetApplicationProvisioningConfigRequestScimProvisioningConfig
authn = models.SetApplicationProvisioningConfigRequestScimProvisioningConfigAuthnConfiguration
param = models.SetApplicationProvisioningConfigRequestScimProvisioningConfigAuthnConfigurationAuthnParam
for code, protocol, fields in [
    ("InvalidParameter.ScimProvisioningConfig", "idaas_callback", dict(
        scim_provisioning_config=scim(scim_base_url="https://scim.example.com"))),
    ("InvalidParameter.CallbackProvisioningConfig", "scim2", dict(callback_provisioning_config=
        models.SetApplicationProvisioningConfigRequestCallbackProvisioningConfig(callback_url="http://127.0.0.1:9/"))),
    ("UnsupportedParameter.FullPushScopes", "scim2", dict(scim_provisioning_config=scim(full_push_scopes=["x"]))),
    ("UnsupportedParameter.AuthnMode", "scim2", dict(scim_provisioning_config=scim(
        authn_configuration=authn(authn_mode="saml", grant_type="bearer_token")))),
    ("InvalidParameter.ClientId", "scim2", dict(scim_provisioning_config=scim(authn_configuration=authn(
        grant_type="bearer_token", authn_param=param(client_id="hub"))))),
    ("InvalidParameter.AccessToken", "scim2", dict(scim_provisioning_config=scim(authn_configuration=authn(
        grant_type="client_credentials", authn_param=param(access_token="hush"))))),
]:
    refused(code, 400, "set_application_provisioning_config", application_id=full, provision_protocol_type=protocol,
            **fields)
call("set_application_provisioning_config", application_id=full, provision_protocol_type="scim2",
     scim_provisioning_config=scim(full_push_scopes=["urn:alibaba:idaas:app:scim:User:PUSH"]))

# What a role does not permit, and what is not there.
same(call("get_user", auditor, user_id=ada).user, username="ada.l")
refused("Forbidden.Permission", 403, "disable_user", auditor, user_id=ada)
refused("NoPermission", 403, "disable_application_provisioning", auditor, application_id=application)
refused("ResourceNotFound.Application", 404, "get_application_provisioning_config", application_id="app_nothing")
refused("ResourceNotFound.SynchronizationJob", 404, "get_synchronization_job", synchronization_job_id="job_nothing")
refused("ResourceDuplicated.Username", 403, "create_user", username="ADA.L", primary_organizational_unit_id=optics)
refused("MissingParameter.Username", 400, "create_user", primary_organizational_unit_id=optics)
answered = set(called)
refused("UnsupportedAction", 400, "get_application", application_id=application)
called = answered

# What is deleted is gone.
refused("Forbidden.Permission", 403, "delete_users", auditor, user_ids=[ada])
call("delete_group", group_id=staff)
refused("ResourceNotFound.Group", 404, "get_group", group_id=staff)
call("delete_user", user_id=ada)
refused("ResourceNotFound.User", 404, "get_user", user_id=ada)
refused("OperationDenied.OrganizationalUnitNotEmpty", 403, "delete_organizational_unit", organizational_unit_id=optics)
call("delete_organizational_unit", organizational_unit_id=lasers)
refused("ResourceNotFound.OrganizationalUnit", 404, "get_organizational_unit", organizational_unit_id=lasers)

suffix = "_with_options"
every = sorted(name[: -len(suffix)] for name in dir(Client) if name.endswith(suffix))
json.dump({"called": sorted(called), "every": every}, sys.stdout)
