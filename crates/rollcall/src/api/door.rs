//! From a request to who gives the command: what the handlers hand to the doors, and what they show of what there is.
//!
//! An application owner meets only what is in reach: [`Door::application`], [`Door::user`] and the others answer for the
//! rest as if it did not exist.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use rollcall_db::Tx;
use rollcall_protocol::SubjectKind;

use super::{Api, ApiError, browser, versions};
use crate::access::Caller;
use crate::application::{Application, ApplicationError, store};
use crate::directory::{self, DirectoryError, Group, Sight, Unit, User};
use crate::once::Once;
use crate::signin::Access;

/// The API, and who calls it. Only behind the guard.
pub(super) struct Door {
    pub(super) api: Arc<Api>,
    pub(super) access: Arc<Access>,
    pub(super) caller: Caller,
}

impl Deref for Door {
    type Target = Arc<Api>;

    fn deref(&self) -> &Arc<Api> {
        &self.api
    }
}

impl FromRequestParts<Arc<Api>> for Door {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let access = parts.extensions.get::<Arc<Access>>();
        let access = access.ok_or_else(|| ApiError::internal("nobody has looked who asks"))?;
        let caller = Caller {
            expected: match parts.headers.get(IF_MATCH) {
                Some(given) => versions::expected(given)?,
                None => None,
            },
            once: parts.extensions.get::<Once>().cloned(),
            ..access.caller(browser::origin(parts))
        };
        Ok(Self {
            api: Arc::clone(api),
            access: Arc::clone(access),
            caller,
        })
    }
}

impl Door {
    /// The application that an id or a name names, if it is in reach.
    pub(super) async fn application(&self, name: String) -> Result<Application, ApiError> {
        let found = {
            let name = name.clone();
            self.shared.hub.db.read(move |tx| store::find(tx, &name)).await
        };
        let role = &self.access.role;
        match found {
            Ok(application) if role.reaches(&application.id) => Ok(application),
            // What fits several may be out of reach, and the ways to write them would tell.
            Err(ApplicationError::Ambiguous(_)) | Ok(_) if role.applications().is_some() => {
                Err(ApplicationError::NotFound(name).into())
            }
            found => Ok(found?),
        }
    }

    /// The same, if it is what the caller has read: so that nobody is shown a plan of something else.
    pub(super) async fn held_application(&self, name: String) -> Result<Application, ApiError> {
        let application = self.application(name).await?;
        match self.caller.expected {
            Some(expected) if expected != application.update_time => {
                let named = (application.id.as_str(), application.name.as_str());
                Err(ApiError::stale(named, expected, application.update_time))
            }
            _ => Ok(application),
        }
    }

    /// Reads something of the directory, as far as the caller sees it.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        read: impl Fn(&mut Tx<'_>, &Sight) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let authority = self.access.authority.clone();
        let looked = self.shared.hub.db.read(move |tx| {
            let sight = Sight::of(tx, &authority)?;
            read(tx, &sight)
        });
        Ok(looked.await?)
    }

    /// The user who is written so.
    pub(super) async fn user(&self, name: String) -> Result<User, ApiError> {
        self.look(move |tx, sight| {
            let found = sight.user(tx, &name)?;
            found.ok_or_else(|| directory::not_found(SubjectKind::User, &name))
        })
        .await
    }

    /// The group that is written so.
    pub(super) async fn group(&self, name: String) -> Result<Group, ApiError> {
        self.look(move |tx, sight| {
            let found = sight.group(tx, &name)?;
            found.ok_or_else(|| directory::not_found(SubjectKind::Group, &name))
        })
        .await
    }

    /// The organizational unit that is written so.
    pub(super) async fn unit(&self, name: String) -> Result<Unit, ApiError> {
        self.look(move |tx, sight| {
            let found = sight.unit(tx, &name)?;
            found.ok_or_else(|| directory::not_found(SubjectKind::Unit, &name))
        })
        .await
    }

    /// What lists are cut to; `None` if the caller sees everything.
    pub(super) async fn sight(&self) -> Result<Option<Arc<Sight>>, ApiError> {
        if self.access.authority.is_everything() {
            return Ok(None);
        }
        self.look(|_, sight| Ok(Some(Arc::new(sight.clone())))).await
    }
}
