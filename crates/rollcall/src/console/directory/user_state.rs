//! Whether a user may sign in, with what, and whether the user is there at all.

use askama::Template;
use axum::extract::Path;

use super::refusal::explain;
use super::user_form::{prepare, subject, time};
use crate::access::Permission;
use crate::accounts::password;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::once::ShownOnce;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::directory::{Command, User};
use crate::maintenance::erasure;
use crate::secret::ExposeSecret as _;

/// Does something to a user that needs no more than a button.
async fn press(posted: Posted, id: String, command: Command, what: &str) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    posted.view.console.hub().apply(posted.caller(), command).await?;
    done(&format!("/console/users/{id}"), what)
}

pub(in crate::console) async fn enable(Path(id): Path<String>, posted: Posted) -> Answer {
    press(posted, id.clone(), Command::EnableUser { id }, "user-enabled").await
}

pub(in crate::console) async fn disable(Path(id): Path<String>, posted: Posted) -> Answer {
    press(posted, id.clone(), Command::DisableUser { id }, "user-disabled").await
}

pub(in crate::console) async fn unlock(Path(id): Path<String>, posted: Posted) -> Answer {
    press(posted, id.clone(), Command::UnlockUser { id }, "user-unlocked").await
}

#[derive(Template)]
#[template(path = "user_lock.html")]
struct LockPage {
    page: Page,
    form: Filled,
    user: User,
}

fn versioned(user: &User) -> Filled {
    Filled::with(&[("version", &user.update_time.to_string())])
}

pub(in crate::console) async fn lock_page(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let user = subject(&view, &id).await?;
    show(&LockPage {
        page: view.page,
        form: versioned(&user),
        user,
    })
}

pub(in crate::console) async fn lock(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let until = time(&mut form, &view.page, "until");
    if until.is_some_and(|until| until <= view.page.now()) {
        form.refuse("until", view.page.t("lock-past"));
    }
    if !form.is_refused() {
        let command = Command::LockUser {
            id: id.clone(),
            until,
        };
        match view.console.hub().apply(caller, command).await {
            Ok(_) => return done(&format!("/console/users/{id}"), "user-locked"),
            Err(error) => explain(&mut form, &view.page, error)?,
        }
    }
    let user = subject(&view, &id).await?;
    form.put("version", user.update_time.to_string());
    again(&LockPage {
        page: view.page,
        form,
        user,
    })
}

#[derive(Template)]
#[template(path = "user_password.html")]
struct PasswordPage {
    page: Page,
    form: Filled,
    user: User,
}

pub(in crate::console) async fn password_page(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let user = subject(&view, &id).await?;
    show(&PasswordPage {
        page: view.page,
        form: versioned(&user),
        user,
    })
}

/// Sets the password that was typed, or one that is made up and shown once.
pub(in crate::console) async fn set_password(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let user = subject(&view, &id).await?;
    let back = format!("/console/users/{id}");
    let typed = form.take_secret("password");
    let again_typed = form.take_secret("again");
    let made_up = form
        .is("how", "make")
        .then(|| password::one_time(&*view.console.hub().random));
    if made_up.is_none() && typed.expose_secret() != again_typed.expose_secret() {
        form.refuse("again", view.page.t("password-differs"));
    }
    if !form.is_refused() {
        let prepared = prepare(&view, made_up.clone().unwrap_or(typed)).await;
        let applied = match prepared {
            Ok(password) => {
                let command = Command::SetPassword { id, password };
                view.console.hub().apply(caller, command).await
            }
            Err(error) => Err(error),
        };
        match (applied, made_up) {
            (Ok(_), None) => return done(&back, "user-password"),
            (Ok(_), Some(password)) => {
                let shown = ShownOnce {
                    title: view.page.t1("once-password-title", "name", &user.username),
                    lead: view.page.t("once-password-lead"),
                    label: view.page.t("once-password-label"),
                    secret: password,
                    beside: None,
                    back,
                    page: view.page,
                };
                return show(&shown);
            }
            (Err(error), _) => explain(&mut form, &view.page, error)?,
        }
    }
    form.put("version", user.update_time.to_string());
    again(&PasswordPage {
        page: view.page,
        form,
        user,
    })
}

#[derive(Template)]
#[template(path = "user_delete.html")]
struct DeletePage {
    page: Page,
    form: Filled,
    user: User,
}

#[derive(Template)]
#[template(path = "erased.html")]
struct ErasedPage {
    page: Page,
    username: String,
    erased: erasure::Erased,
    others: Vec<String>,
}

pub(in crate::console) async fn delete_page(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Directory);
    view.needs(Permission::WriteDirectory)?;
    let user = subject(&view, &id).await?;
    let mut form = versioned(&user);
    form.put("how", "delete");
    show(&DeletePage {
        page: view.page,
        form,
        user,
    })
}

/// Deletes a user whose username was typed, or erases every record of the user as well.
pub(in crate::console) async fn delete(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::WriteDirectory)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Directory);
    let user = subject(&view, &id).await?;
    if form.value("confirm") != user.username {
        let words = view.page.t1("confirm-differs", "name", &user.username);
        form.refuse("confirm", words);
        return again(&DeletePage {
            page: view.page,
            form,
            user,
        });
    }
    let hub = view.console.hub();
    if form.is("how", "erase") {
        let erased = erasure::erase_user(hub, &caller, &id).await?;
        let others = erased.others.iter().map(ToString::to_string);
        return show(&ErasedPage {
            others: others.collect(),
            page: view.page,
            username: user.username,
            erased,
        });
    }
    match hub.apply(caller, Command::DeleteUser { id }).await {
        Ok(_) => done("/console/directory", "user-deleted"),
        Err(error) => {
            explain(&mut form, &view.page, error)?;
            form.put("version", user.update_time.to_string());
            again(&DeletePage {
                page: view.page,
                form,
                user,
            })
        }
    }
}
