"""Drives every call of the developer API that the hub has with the product's official client, and reads back what it sets.

Reads its settings as JSON from the standard input, and writes which calls there are and which were made.
"""

import json
import sys
import time

from alibabacloud_eiam_developerapi20220225 import models
from alibabacloud_eiam_developerapi20220225.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

settings = json.load(sys.stdin)
instance, application = settings["instance"], settings["application"]
root, unit = settings["root"], settings["unit"]
client = Client(
    Config(
        endpoint=settings["endpoint"],
        protocol=settings["protocol"],
        ca=settings.get("ca"),
    )
)
called = set()
runtime = RuntimeOptions(ca=settings.get("ca"))


def pascal(name):
    return "".join(part.capitalize() for part in name.split("_"))


def call(name, *ids, authorized=True, **fields):
    """Makes a call and returns the body of its answer."""
    called.add(name)
    arguments = [instance, application, *ids]
    request = getattr(models, pascal(name) + "Request", None)
    if request is not None and needs(name, "request"):
        arguments.append(request(**fields))
    if needs(name, "headers"):
        headers = getattr(models, pascal(name) + "Headers")()
        if authorized:
            headers.authorization = "Bearer " + access
        arguments.append(headers)
    else:
        arguments.append({})
    answer = getattr(client, name + "_with_options")(*arguments, runtime)
    return getattr(answer, "body", None)


def needs(name, parameter):
    code = getattr(Client, name + "_with_options").__code__
    return parameter in code.co_varnames[: code.co_argcount] and (
        parameter != "headers" or hasattr(models, pascal(name) + "Headers")
    )


def refused(code, status, name, *ids, **fields):
    """Makes a call that must be refused so."""
    try:
        call(name, *ids, **fields)
    except Exception as error:
        assert error.code == code, (name, error.code, error.message)
        assert error.status_code == status, (name, error.status_code)
        assert error.request_id and error.request_id != "None", name
        return
    raise AssertionError(f"{name} was not refused with {code}")


def same(found, **wanted):
    for name, value in wanted.items():
        there = getattr(found, name)
        assert there == value, f"{name}: {there!r}, and not {value!r}"


# Tokens.
secrets = dict(client_id=application, client_secret=settings["secret"])
granted = call("generate_token", grant_type="client_credentials", **secrets)
assert granted.token_type == "Bearer" and granted.expires_in == 1200
assert abs(granted.expires_at - time.time() - 1200) < 60
access = granted.access_token
refused("InvalidClient", 401, "generate_token", grant_type="client_credentials",
        client_id=application, client_secret="rcc_wrong")
refused("UnsupportedGrantType", 400, "generate_token", grant_type="password", **secrets)

# The scope.
scope = call("get_application_provisioning_scope")
same(scope, organizational_unit_ids=settings["scope"], group_ids=[])

# Organizational units.
before = int(time.time() * 1000) - 60_000
made = call("create_organizational_unit", organizational_unit_name="光学", parent_id=unit,
            description="lenses", organizational_unit_external_id="opt-1")
optics = made.organizational_unit_id
found = call("get_organizational_unit", optics)
same(found, instance_id=instance, organizational_unit_id=optics, organizational_unit_name="光学",
     parent_id=unit, description="lenses", organizational_unit_external_id="opt-1",
     organizational_unit_source_type="build_in", organizational_unit_source_id=instance)
assert before < found.create_time <= found.update_time
lasers = call("create_organizational_unit", organizational_unit_name="Lasers", parent_id=unit).organizational_unit_id
same(call("get_organizational_unit", lasers), organizational_unit_external_id=lasers)
call("patch_organizational_unit", optics, organizational_unit_name="Optics")
same(call("get_organizational_unit", optics), organizational_unit_name="Optics", description="lenses")
call("patch_organizational_unit", optics, description="")
same(call("get_organizational_unit", optics), organizational_unit_name="Optics", description=None)
call("patch_organizational_unit_parent_id", lasers, parent_id=optics)
same(call("get_organizational_unit", lasers), parent_id=optics)
parents = call("list_organizational_unit_parent_ids", lasers).parent_ids
assert parents[:2] == [optics, unit], parents
for external_id, wanted in [("opt-1", optics), (lasers, lasers)]:
    same(call("get_organizational_unit_id_by_external_id", organizational_unit_external_id=external_id,
              organizational_unit_source_type="build_in", organizational_unit_source_id=instance),
         organizational_unit_id=wanted)
for number in range(3):
    call("create_organizational_unit", organizational_unit_name=f"Room {number}", parent_id=optics)
names = []
for page in (1, 2, 3):
    part = call("list_organizational_units", parent_id=optics, page_number=page, page_size=2)
    assert part.total_count == 4, part.total_count
    names += [one.organizational_unit_name for one in part.data]
assert sorted(names) == ["Lasers", "Room 0", "Room 1", "Room 2"], names
rooms = [one.organizational_unit_id for one in call("list_organizational_units", parent_id=optics, page_size=100).data
         if one.organizational_unit_name.startswith("Room")]

# Users.
password = "correct horse battery"
custom = [models.CreateUserRequestCustomFields(field_name="desk", field_value="12"),
          models.CreateUserRequestCustomFields(field_name="badge", field_value="x")]
ada = call("create_user", username="ada", display_name="Ada 洛芙莱斯", email="Ada@Example.org", email_verified=True,
           phone_region="86", phone_number="13900000001", phone_number_verified=True, description="first",
           user_external_id="e-1", primary_organizational_unit_id=optics, password=password,
           custom_fields=custom).user_id
found = call("get_user", ada)
same(found, instance_id=instance, user_id=ada, username="ada", display_name="Ada 洛芙莱斯", email="Ada@Example.org",
     email_verified=True, phone_region="86", phone_number="13900000001", phone_number_verified=True,
     description="first", user_external_id="e-1", user_source_type="build_in", user_source_id=instance,
     status="enabled", password_set=True, primary_organizational_unit_id=optics, groups=[],
     account_expire_time=None, lock_expire_time=None)
assert before < found.register_time <= found.create_time <= found.update_time
assert {field.field_name: field.field_value for field in found.custom_fields} == {"desk": "12", "badge": "x"}
[place] = found.organizational_units
same(place, organizational_unit_id=optics, organizational_unit_name="Optics", primary=True)
call("patch_user", ada, username="ada.l", display_name="Ada", custom_fields=[
    models.PatchUserRequestCustomFields(field_name="desk", field_value="13", operation="replace"),
    models.PatchUserRequestCustomFields(field_name="badge", operator="remove"),
    models.PatchUserRequestCustomFields(field_name="room", field_value="4", operation="add")])
found = call("get_user", ada)
same(found, username="ada.l", display_name="Ada", email="Ada@Example.org", phone_number="13900000001")
assert {field.field_name: field.field_value for field in found.custom_fields} == {"desk": "13", "room": "4"}
call("patch_user", ada, email="", phone_region="", phone_number="")
same(call("get_user", ada), email=None, phone_region=None, phone_number=None, username="ada.l")
call("patch_user", ada, email="ada@example.org", email_verified=False, phone_region="1", phone_number="13900000001",
     phone_number_verified=False)
same(call("get_user", ada), email="ada@example.org", email_verified=False, phone_region="1",
     phone_number_verified=False)
call("disable_user", ada)
same(call("get_user", ada), status="disabled")
call("enable_user", ada)
same(call("get_user", ada), status="enabled")
call("update_user_password", ada, password="another horse battery")
for name, fields in [
    ("get_user_id_by_username", dict(username="ADA.L")),
    ("get_user_id_by_email", dict(email="ADA@example.org")),
    ("get_user_id_by_phone_number", dict(phone_number="13900000001")),
    ("get_user_id_by_user_external_id",
     dict(user_external_id="e-1", user_source_type="build_in", user_source_id=instance)),
]:
    same(call(name, **fields), user_id=ada)
# Where nobody was given one, the id is the external id.
initialized = models.CreateUserRequestPasswordInitializationConfig(password_initialization_type="random")
grace = call("create_user", username="grace", primary_organizational_unit_id=optics,
             password_initialization_config=initialized).user_id
found = call("get_user", grace)
same(found, display_name="grace", user_external_id=grace, password_set=True)
same(call("get_user_id_by_user_external_id", user_external_id=grace, user_source_type="build_in",
          user_source_id=instance), user_id=grace)
call("add_user_to_organizational_units", grace, organizational_unit_ids=[lasers, rooms[0]])
units = {place.organizational_unit_id: place.primary for place in call("get_user", grace).organizational_units}
assert units == {optics: True, lasers: False, rooms[0]: False}, units
call("set_user_primary_organizational_unit", grace, organizational_unit_id=lasers)
units = {place.organizational_unit_id: place.primary for place in call("get_user", grace).organizational_units}
assert units == {optics: False, lasers: True, rooms[0]: False}, units
call("remove_user_from_organizational_units", grace, organizational_unit_ids=[optics, rooms[0]])
units = {place.organizational_unit_id: place.primary for place in call("get_user", grace).organizational_units}
assert units == {lasers: True}, units
refused("OperationDenied.PrimaryOrganizationalUnit", 403, "remove_user_from_organizational_units", grace,
        organizational_unit_ids=[lasers])
for number in range(5):
    call("create_user", username=f"many-{number}", primary_organizational_unit_id=rooms[1])
names = []
for page in (1, 2, 3):
    part = call("list_users", organizational_unit_id=rooms[1], page_number=page, page_size=2)
    assert part.total_count == 5, part.total_count
    names += [one.username for one in part.data]
assert sorted(names) == [f"many-{number}" for number in range(5)], names
same(part.data[0], instance_id=instance, status="enabled", password_set=False, user_source_type="build_in")
everybody = call("list_users", page_size=100)
assert everybody.total_count == len(everybody.data) >= 7, everybody.total_count

# Groups.
staff = call("create_group", group_name="Staff", group_external_id="g-1").group_id
found = call("get_group", staff)
same(found, instance_id=instance, group_id=staff, group_name="Staff", group_external_id="g-1", description=None,
     group_source_type="build_in", group_source_id=instance)
assert before < found.create_time <= found.update_time
call("patch_group", staff, group_name="All staff")
same(call("get_group", staff), group_name="All staff", group_external_id="g-1")
for number in range(3):
    call("create_group", group_name=f"Allies {number}")
call("create_group", group_name="Others")
token, names = None, []
while True:
    part = call("list_groups", group_name_start_with="ALL", max_results=3, next_token=token)
    assert part.total_count == 4 and part.max_results == 3, part.total_count
    names += [one.group_name for one in part.data]
    token = part.next_token
    if not token:
        break
assert sorted(names) == ["All staff", "Allies 0", "Allies 1", "Allies 2"], names
call("add_users_to_group", staff, user_ids=[ada, grace])
token, members = None, []
while True:
    part = call("list_users_for_group", staff, max_results=1, next_token=token)
    assert part.total_count == 2, part.total_count
    members += [one.user_id for one in part.data]
    token = part.next_token
    if not token:
        break
assert sorted(members) == sorted([ada, grace]), members
part = call("list_groups_for_user", ada)
assert [one.group_id for one in part.data] == [staff] and part.total_count == 1
same(part.data[0], instance_id=instance, group_member_relation_source_type="build_in")
[of] = call("get_user", ada).groups
same(of, group_id=staff, group_name="All staff")
call("remove_users_from_group", staff, user_ids=[grace])
assert [one.user_id for one in call("list_users_for_group", staff).data] == [ada]

# Refusals have the codes that are documented.
refused("ResourceNotFound.User", 404, "get_user", "user_nobody")
refused("ResourceNotFound.Group", 404, "get_group", "group_none")
refused("ResourceNotFound.OrganizationalUnit", 404, "get_organizational_unit", "ou_none")
refused("ResourceDuplicated.Username", 403, "create_user", username="ADA.L", primary_organizational_unit_id=optics)
refused("ResourceDuplicated.Name", 403, "create_group", group_name="all STAFF")
refused("MissingParameter.Username", 400, "create_user", primary_organizational_unit_id=optics)
refused("InvalidParameter.Username", 400, "create_user", username="a b", primary_organizational_unit_id=optics)
refused("InvalidParameter.PhoneNumber", 400, "patch_user", ada, phone_number="12")
refused("UnsupportedParameter.UserNotificationChannels", 400, "create_user", username="told",
        primary_organizational_unit_id=optics,
        password_initialization_config=models.CreateUserRequestPasswordInitializationConfig(
            password_initialization_type="random", user_notification_channels=["email"]))
refused("OperationDenied.OrganizationalUnitNotEmpty", 403, "delete_organizational_unit", optics)
refused("OperationDenied.ParentId", 403, "patch_organizational_unit_parent_id", optics, parent_id=lasers)
refused("InvalidParameter.PageSize", 400, "list_users", page_size=101)
refused("InvalidAccessToken", 401, "get_user", ada, authorized=False)

# What is deleted is gone.
call("delete_group", staff)
refused("ResourceNotFound.Group", 404, "get_group", staff)
call("delete_user", grace)
refused("ResourceNotFound.User", 404, "get_user", grace)
call("delete_organizational_unit", rooms[0])
refused("ResourceNotFound.OrganizationalUnit", 404, "get_organizational_unit", rooms[0])

# A token that was revoked is good for nothing.
call("revoke_token", token=access, **secrets)
refused("AccessTokenRevoked", 401, "get_user", ada)

suffix = "_with_options"
every = sorted(name[: -len(suffix)] for name in dir(Client) if name.endswith(suffix))
json.dump({"called": sorted(called), "every": every}, sys.stdout)
