//! The provisioning of applications, as the management API calls its parts: configuration, scope, synchronization jobs.

use std::collections::BTreeSet;

use rollcall_protocol::EncryptionKey;
use serde_json::{Map, Value, json};

use super::{jobs, unknown};
use crate::access::{Authority, Permission, Role};
use crate::accounts::tokens::AccessKey;
use crate::application::entitlement::subscribable;
use crate::application::scim::{Action, Authentication, ScimPatch, SecretIn};
use crate::application::{
    self, Application, ApplicationError, Edit, Encryption, Entitlement, Entitlements, Mode, ModeName, Scope,
    ScopeEdit, SettingsPatch, store,
};
use crate::delivery::job::{self, JobError};
use crate::developer::{Desk, Given, Refusal};
use crate::instance;
use crate::secret::SecretString;

/// The actions of SCIM, as the management API writes them.
const ACTION: &str = "urn:alibaba:idaas:app:scim:User:";

pub(super) type Answered = Result<Map<String, Value>, Refusal>;

/// Where calls about applications come in.
pub(super) struct Office<'a> {
    pub(super) desk: &'a Desk,
    key: &'a AccessKey,
}

/// An application that a call is about, and how far whoever calls reaches.
pub(super) struct Subject {
    pub(super) application: Application,
    entitlement: Entitlement,
    pub(super) authority: Authority,
}

impl<'a> Office<'a> {
    pub(super) fn new(desk: &'a Desk, key: &'a AccessKey) -> Self {
        Self { desk, key }
    }

    /// The role of the access key, and how far it reaches; refuses whoever may not do this.
    pub(super) fn permitted(&self, needed: Permission) -> Result<(&'a Role, &'a Authority), Refusal> {
        let role = &self.key.token.role;
        match role.may(needed) {
            true => Ok((role, &self.key.authority)),
            false => Err(Refusal::other(
                403,
                "NoPermission",
                format!("the role of this access key does not permit {}", needed.as_str()),
            )),
        }
    }

    /// The application that a call names.
    pub(super) async fn subject(
        &self,
        given: &Given,
        field: &str,
        needed: Permission,
    ) -> Result<Subject, Refusal> {
        let (role, authority) = self.permitted(needed)?;
        let id = given.needed(field)?;
        let missing = Refusal::other(
            404,
            "ResourceNotFound.Application",
            format!("there is no application {id:?}"),
        );
        if !role.reaches(&id) {
            return Err(missing);
        }
        let read = self.desk.hub().db.read(move |tx| {
            let application = store::load(tx, &id)?;
            let entitlement = Entitlements::load(tx, &id)?.current().clone();
            Ok::<_, ApplicationError>((application, entitlement))
        });
        match read.await {
            Ok((application, entitlement)) => Ok(Subject {
                application,
                entitlement,
                authority: authority.clone(),
            }),
            Err(ApplicationError::NotFound(_)) => Err(missing),
            Err(error) => Err(error.into()),
        }
    }

    async fn apply(&self, authority: Authority, commands: Vec<application::Command>) -> Result<(), Refusal> {
        let caller = self.desk.caller(authority);
        self.desk.hub().apply_to_application(caller, commands).await?;
        Ok(())
    }
}

impl From<ApplicationError> for Refusal {
    fn from(error: ApplicationError) -> Self {
        let message = error.to_string();
        match error {
            ApplicationError::Database(error) => error.into(),
            ApplicationError::NotFound(_) => Self::other(404, "ResourceNotFound.Application", message),
            ApplicationError::UnknownInScope(_) => {
                Self::other(404, "ResourceNotFound.ProvisioningScope", message)
            }
            ApplicationError::Settings(_) => Self::other(400, "InvalidParameter.ProvisioningConfig", message),
            ApplicationError::OutsideScope(_) => Self::other(403, "OperationDenied.OutsideScope", message),
            _ => Self::other(403, "OperationDenied.Application", message),
        }
    }
}

impl From<JobError> for Refusal {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Application(error) => error.into(),
            JobError::Database(error) => error.into(),
            other => Self::other(403, "OperationDenied.SynchronizationJob", other.to_string()),
        }
    }
}

pub(super) async fn call(office: &Office<'_>, action: &str, given: &Given) -> Answered {
    match action {
        "GetApplicationProvisioningConfig" => config(office, given).await,
        "SetApplicationProvisioningConfig" => set_config(office, given).await,
        "GetApplicationProvisioningScope" => scope(office, given).await,
        "SetApplicationProvisioningScope" => set_scope(office, given).await,
        "EnableApplicationProvisioning" => switch(office, given, true).await,
        "DisableApplicationProvisioning" => switch(office, given, false).await,
        "RunSynchronizationJob" => jobs::run(office, given).await,
        "GetSynchronizationJob" => jobs::get(office, given).await,
        "ListSynchronizationJobs" => jobs::list(office, given).await,
        _ => Err(unknown(action)),
    }
}

/// The configuration. Secrets are not told again.
async fn config(office: &Office<'_>, given: &Given) -> Answered {
    let subject = office
        .subject(given, "applicationId", Permission::ReadApplications)
        .await?;
    let (application, hub) = (subject.application, &office.desk.hub());
    let serving = hub.db.read(instance::serving).await?;
    let settings = &application.settings;
    let mut config = json!({
        "instanceId": hub.instance.id,
        "applicationId": application.id,
        "status": if application.synchronize { "enabled" } else { "disabled" },
        "provisionPassword": settings.password_synchronization,
        "provisionJwksEndpoint": instance::jwks_url(serving.as_ref(), &hub.instance.id, &application.id),
    });
    match &settings.mode {
        Mode::EventCallback(callback) => {
            let events: Vec<&str> = subject
                .entitlement
                .subscription
                .events()
                .map(|it| it.urn())
                .collect();
            config["provisionProtocolType"] = "idaas_callback".into();
            config["callbackProvisioningConfig"] = json!({
                "callbackUrl": callback.url,
                "encryptRequired": callback.encryption == Encryption::Required,
                "listenEventScopes": events,
            });
        }
        Mode::Scim(scim) => {
            let actions: Vec<String> = scim
                .actions
                .iter()
                .map(|action| format!("{ACTION}{}", action_name(*action)))
                .collect();
            let (grant_type, param) = match &scim.authentication {
                Authentication::BearerToken => ("bearer_token", json!({})),
                Authentication::ClientCredentials {
                    token_url,
                    client_id,
                    method,
                    ..
                } => (
                    "client_credentials",
                    json!({
                        "clientId": client_id,
                        "tokenEndpoint": token_url,
                        "authnMethod": method_name(*method),
                    }),
                ),
            };
            config["provisionProtocolType"] = "scim2".into();
            config["scimProvisioningConfig"] = json!({
                "scimBaseUrl": scim.base_url,
                "provisioningActions": actions,
                "fullPushScopes": [format!("{ACTION}PUSH")],
                "authnConfiguration": { "authnMode": "oauth2", "grantType": grant_type, "authnParam": param },
            });
        }
    }
    Ok(Map::from_iter([(
        "applicationProvisioningConfig".to_owned(),
        config,
    )]))
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Create => "CREATE",
        Action::Update => "UPDATE",
        Action::Delete => "DELETE",
    }
}

fn method_name(method: SecretIn) -> &'static str {
    match method {
        SecretIn::Header => "client_secret_basic",
        SecretIn::Body => "client_secret_post",
    }
}

/// What a request wants of the settings.
#[derive(Default)]
struct WantedConfig {
    settings: SettingsPatch,
    secret: Option<SecretString>,
    key: Option<EncryptionKey>,
    events: Option<BTreeSet<rollcall_protocol::EventType>>,
}

impl WantedConfig {
    fn read(given: &Given, application: &Application) -> Result<Self, Refusal> {
        let other = |field: &str, protocol: &str| match given.has(field) {
            true => Err(Refusal::invalid(
                field,
                format!("{field} belongs to another ProvisionProtocolType than {protocol}"),
            )),
            false => Ok(()),
        };
        let protocol = given.needed("provisionProtocolType")?;
        let mode = match protocol.as_str() {
            "idaas_callback" => ModeName::EventCallback,
            "scim2" => ModeName::Scim,
            _ => {
                let message = "ProvisionProtocolType must be idaas_callback or scim2";
                return Err(Refusal::invalid("provisionProtocolType", message));
            }
        };
        let mut wanted = Self {
            settings: SettingsPatch {
                mode: (mode != application.settings.mode.name()).then_some(mode),
                password_synchronization: given.truth("provisionPassword")?,
                ..SettingsPatch::default()
            },
            ..Self::default()
        };
        match mode {
            ModeName::EventCallback => {
                other("scimProvisioningConfig", &protocol)?;
                if let Some(callback) = given.object("callbackProvisioningConfig")? {
                    wanted.read_callback(&callback)?;
                }
            }
            ModeName::Scim => {
                other("callbackProvisioningConfig", &protocol)?;
                if let Some(scim) = given.object("scimProvisioningConfig")? {
                    wanted.read_scim(&scim)?;
                }
            }
        }
        Ok(wanted)
    }

    fn read_callback(&mut self, given: &Given) -> Result<(), Refusal> {
        self.settings.url = given.some("callbackUrl")?;
        if let Some(key) = given.some("encryptKey")? {
            let key = EncryptionKey::from_hex(&key)
                .map_err(|error| Refusal::invalid("encryptKey", format!("EncryptKey: {error}")))?;
            self.key = Some(key);
        }
        self.settings.encryption = given
            .truth("encryptRequired")?
            .map(|is_required| match is_required {
                true => Encryption::Required,
                false => Encryption::Off,
            });
        if given.has("listenEventScopes") {
            let named = given.ids("listenEventScopes", 100)?;
            let events: Result<BTreeSet<_>, String> = named.iter().map(|name| subscribable(name)).collect();
            let events = events.map_err(|error| Refusal::invalid("listenEventScopes", error))?;
            self.events = Some(events);
        }
        Ok(())
    }

    fn read_scim(&mut self, given: &Given) -> Result<(), Refusal> {
        self.settings.url = given.some("scimBaseUrl")?;
        let mut scim = ScimPatch::default();
        if given.has("provisioningActions") {
            let named = given.ids("provisioningActions", 10)?;
            let actions: Option<BTreeSet<Action>> = named
                .iter()
                .map(|name| {
                    let name = name.strip_prefix(ACTION)?;
                    Action::ALL
                        .into_iter()
                        .find(|action| action_name(*action) == name)
                })
                .collect();
            let message = format!("ProvisioningActions are {ACTION}CREATE, DELETE and UPDATE");
            scim.actions = Some(actions.ok_or_else(|| Refusal::invalid("provisioningActions", message))?);
        }
        if given.has("fullPushScopes") {
            // A full synchronization pushes users, and nothing else is known that could be pushed.
            let push = format!("{ACTION}PUSH");
            if given.ids("fullPushScopes", 10)? != [push.as_str()] {
                let message = format!("FullPushScopes must be {push}, or be left out");
                return Err(Refusal::unsupported("fullPushScopes", message));
            }
        }
        if let Some(authn) = given.object("authnConfiguration")? {
            if authn.some("authnMode")?.is_some_and(|mode| mode != "oauth2") {
                return Err(Refusal::unsupported("authnMode", "AuthnMode must be oauth2"));
            }
            let param = authn.object("authnParam")?.unwrap_or_default();
            let belongs = |fields: &[&str], grant: &str| match fields.iter().find(|field| param.has(field)) {
                Some(field) => Err(Refusal::invalid(
                    field,
                    format!("{field} belongs to another GrantType than {grant}"),
                )),
                None => Ok(()),
            };
            let (authentication, secret) = match authn.needed("grantType")?.as_str() {
                "bearer_token" => {
                    let others = ["clientId", "clientSecret", "tokenEndpoint", "authnMethod"];
                    belongs(&others, "bearer_token")?;
                    (Authentication::BearerToken, param.secret("accessToken")?)
                }
                "client_credentials" => {
                    belongs(&["accessToken"], "client_credentials")?;
                    let method = match param.some("authnMethod")?.as_deref() {
                        None | Some("client_secret_basic") => SecretIn::Header,
                        Some("client_secret_post") => SecretIn::Body,
                        Some(_) => {
                            let message = "AuthnMethod must be client_secret_basic or client_secret_post";
                            return Err(Refusal::invalid("authnMethod", message));
                        }
                    };
                    let authentication = Authentication::ClientCredentials {
                        token_url: param.needed("tokenEndpoint")?,
                        client_id: param.needed("clientId")?,
                        method,
                        scope: None,
                    };
                    (authentication, param.secret("clientSecret")?)
                }
                _ => {
                    let message = "GrantType must be bearer_token or client_credentials";
                    return Err(Refusal::invalid("grantType", message));
                }
            };
            scim.authentication = Some(authentication);
            self.secret = secret;
        }
        self.settings.scim = Some(scim);
        Ok(())
    }
}

async fn set_config(office: &Office<'_>, given: &Given) -> Answered {
    let subject = office
        .subject(given, "applicationId", Permission::ConfigureApplications)
        .await?;
    let id = subject.application.id.clone();
    let wanted = WantedConfig::read(given, &subject.application)?;
    let mut commands = application::Command::changes(&id, None, wanted.settings, wanted.secret, wanted.key);
    commands.extend(wanted.events.map(|events| application::Command::SetSubscription {
        id,
        events: Edit::Set(events),
        confirmed: None,
    }));
    office.apply(subject.authority, commands).await?;
    Ok(Map::new())
}

async fn scope(office: &Office<'_>, given: &Given) -> Answered {
    let subject = office
        .subject(given, "applicationId", Permission::ReadApplications)
        .await?;
    let Scope {
        organizational_unit_ids,
        group_ids,
    } = subject.entitlement.scope;
    let scope = json!({ "organizationalUnitIds": organizational_unit_ids, "groupIds": group_ids });
    Ok(Map::from_iter([(
        "applicationProvisioningScope".to_owned(),
        scope,
    )]))
}

async fn set_scope(office: &Office<'_>, given: &Given) -> Answered {
    let subject = office
        .subject(given, "applicationId", Permission::ConfigureApplications)
        .await?;
    let wanted = Scope {
        organizational_unit_ids: given
            .some_ids("organizationalUnitIds", 1_000)?
            .into_iter()
            .collect(),
        group_ids: given.some_ids("groupIds", 1_000)?.into_iter().collect(),
    };
    let caller = office.desk.caller(subject.authority);
    let (hub, id) = (&office.desk.hub(), &subject.application.id);
    job::change_scope(hub, caller, id, ScopeEdit::to(&wanted), None).await?;
    Ok(Map::new())
}

async fn switch(office: &Office<'_>, given: &Given, is_on: bool) -> Answered {
    let subject = office
        .subject(given, "applicationId", Permission::OperateApplications)
        .await?;
    let id = subject.application.id;
    let command = match is_on {
        true => application::Command::EnableSynchronization { id },
        false => application::Command::DisableSynchronization { id },
    };
    office.apply(subject.authority, vec![command]).await?;
    Ok(Map::new())
}
