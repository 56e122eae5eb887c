//! The calls that are answered, and the parameters that each of them knows.
//!
//! A parameter that a call does not know is refused: whoever sends it wants something by it, and would not learn that
//! it was passed over.

use crate::developer::{Given, Refusal};

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// What it is called.
    pub action: &'static str,
    /// Its parameters beside `instanceId`, with those that stand below others by their paths.
    pub parameters: &'static [&'static str],
}

const fn call(action: &'static str, parameters: &'static [&'static str]) -> Call {
    Call { action, parameters }
}

/// The calls that are answered.
pub const CALLS: [Call; 43] = [
    call(
        "AddUserToOrganizationalUnits",
        &["userId", "organizationalUnitIds"],
    ),
    call("AddUsersToGroup", &["groupId", "userIds"]),
    call("CreateGroup", &["groupName", "description", "groupExternalId"]),
    call(
        "CreateOrganizationalUnit",
        &[
            "organizationalUnitName",
            "parentId",
            "description",
            "organizationalUnitExternalId",
        ],
    ),
    call(
        "CreateUser",
        &[
            "clientToken",
            "customFields.fieldName",
            "customFields.fieldValue",
            "description",
            "displayName",
            "email",
            "emailVerified",
            "organizationalUnitIds",
            "password",
            "passwordInitializationConfig.passwordForcedUpdateStatus",
            "passwordInitializationConfig.passwordInitializationPolicyPriority",
            "passwordInitializationConfig.passwordInitializationType",
            "phoneNumber",
            "phoneNumberVerified",
            "phoneRegion",
            "primaryOrganizationalUnitId",
            "userExternalId",
            "username",
        ],
    ),
    call("DeleteGroup", &["groupId"]),
    call("DeleteOrganizationalUnit", &["organizationalUnitId"]),
    call("DeleteOrganizationalUnitChildren", &["organizationalUnitId"]),
    call("DeleteUser", &["userId"]),
    call("DeleteUsers", &["userIds"]),
    call("DisableApplicationProvisioning", &["applicationId"]),
    call("DisableUser", &["userId"]),
    call("EnableApplicationProvisioning", &["applicationId"]),
    call("EnableUser", &["userId"]),
    call("GetApplicationProvisioningConfig", &["applicationId"]),
    call("GetApplicationProvisioningScope", &["applicationId"]),
    call("GetGroup", &["groupId"]),
    call("GetOrganizationalUnit", &["organizationalUnitId"]),
    call("GetRootOrganizationalUnit", &[]),
    call("GetSynchronizationJob", &["synchronizationJobId"]),
    call("GetUser", &["userId"]),
    call(
        "ListGroups",
        &[
            "groupExternalId",
            "groupIds",
            "groupName",
            "groupNameStartsWith",
            "pageNumber",
            "pageSize",
        ],
    ),
    call("ListGroupsForUser", &["userId", "pageNumber", "pageSize"]),
    call("ListOrganizationalUnitParents", &["organizationalUnitId"]),
    call(
        "ListOrganizationalUnits",
        &[
            "organizationalUnitIds",
            "organizationalUnitName",
            "organizationalUnitNameStartsWith",
            "parentId",
            "pageNumber",
            "pageSize",
        ],
    ),
    call(
        "ListSynchronizationJobs",
        &[
            "direction",
            "endTime",
            "maxResults",
            "nextToken",
            "pageNumber",
            "pageSize",
            "startTime",
            "status",
            "targetIds",
            "targetType",
        ],
    ),
    call(
        "ListUsers",
        &[
            "displayNameStartsWith",
            "email",
            "maxResults",
            "nextToken",
            "organizationalUnitId",
            "pageNumber",
            "pageSize",
            "phoneNumber",
            "phoneRegion",
            "status",
            "userExternalId",
            "userIds",
            "userSourceId",
            "userSourceType",
            "usernameStartsWith",
        ],
    ),
    call(
        "ListUsersForGroup",
        &["groupId", "userIds", "pageNumber", "pageSize"],
    ),
    call(
        "RemoveUserFromOrganizationalUnits",
        &["userId", "organizationalUnitIds"],
    ),
    call("RemoveUsersFromGroup", &["groupId", "userIds"]),
    call("RunSynchronizationJob", &["targetId", "targetType"]),
    call(
        "SetApplicationProvisioningConfig",
        &[
            "applicationId",
            "callbackProvisioningConfig.callbackUrl",
            "callbackProvisioningConfig.encryptKey",
            "callbackProvisioningConfig.encryptRequired",
            "callbackProvisioningConfig.listenEventScopes",
            "provisionPassword",
            "provisionProtocolType",
            "scimProvisioningConfig.authnConfiguration.authnMode",
            "scimProvisioningConfig.authnConfiguration.authnParam.accessToken",
            "scimProvisioningConfig.authnConfiguration.authnParam.authnMethod",
            "scimProvisioningConfig.authnConfiguration.authnParam.clientId",
            "scimProvisioningConfig.authnConfiguration.authnParam.clientSecret",
            "scimProvisioningConfig.authnConfiguration.authnParam.tokenEndpoint",
            "scimProvisioningConfig.authnConfiguration.grantType",
            "scimProvisioningConfig.fullPushScopes",
            "scimProvisioningConfig.provisioningActions",
            "scimProvisioningConfig.scimBaseUrl",
        ],
    ),
    call(
        "SetApplicationProvisioningScope",
        &["applicationId", "groupIds", "organizationalUnitIds"],
    ),
    call(
        "SetUserPrimaryOrganizationalUnit",
        &["userId", "organizationalUnitId"],
    ),
    call("UnlockUser", &["userId"]),
    call("UpdateGroup", &["groupId", "groupName", "groupExternalId"]),
    call("UpdateGroupDescription", &["groupId", "description"]),
    call(
        "UpdateOrganizationalUnit",
        &["organizationalUnitId", "organizationalUnitName"],
    ),
    call(
        "UpdateOrganizationalUnitDescription",
        &["organizationalUnitId", "description"],
    ),
    call(
        "UpdateOrganizationalUnitParentId",
        &["organizationalUnitId", "parentId"],
    ),
    call(
        "UpdateUser",
        &[
            "customFields.fieldName",
            "customFields.fieldValue",
            "customFields.operation",
            "displayName",
            "email",
            "emailVerified",
            "phoneNumber",
            "phoneNumberVerified",
            "phoneRegion",
            "userId",
            "username",
        ],
    ),
    call("UpdateUserDescription", &["userId", "description"]),
    call(
        "UpdateUserPassword",
        &["userId", "password", "passwordForcedUpdateStatus"],
    ),
];

/// There is no such call.
pub(super) fn unknown(action: &str) -> Refusal {
    let message =
        format!("there is no call {action:?}; docs/api-compatibility.md lists those that are answered");
    Refusal::other(400, "UnsupportedAction", message)
}

impl Call {
    /// The call of this name.
    ///
    /// # Errors
    /// [`Refusal`] if there is none.
    pub(super) fn find(action: &str) -> Result<Self, Refusal> {
        let found = CALLS.into_iter().find(|call| call.action == action);
        found.ok_or_else(|| unknown(action))
    }

    /// Whether it knows this parameter, or one below it.
    fn knows(&self, path: &str) -> bool {
        self.parameters.iter().any(|known| {
            known
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// Refuses what it does not know.
    ///
    /// # Errors
    /// [`Refusal`] that names the first of it.
    pub(super) fn check(&self, given: &Given) -> Result<(), Refusal> {
        let unknown = given.first_path(&|path| path != "instanceId" && !self.knows(path));
        match unknown {
            None => Ok(()),
            Some(path) => {
                let name = path.rsplit('.').next().unwrap_or(&path);
                let message = format!("{} does nothing with {name}: leave it out", self.action);
                Err(Refusal::unsupported(name, message))
            }
        }
    }
}
