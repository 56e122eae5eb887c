//! Histories by chance: whatever was done, by whomever, every read is answered as by somebody who remembers nothing.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rollcall::application::{Command as AppCommand, DeveloperApi, Grant, Scope};
use rollcall::directory::{Cascade, Command, GroupChanges, UnitChanges, UserChanges};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_db::Dialect;
use serde_json::json;

use super::kept::{answered, expected, set_scope, with_another};
use super::{ALL, Developer, grant, make_secret};
use crate::access::Site;
use crate::two_doors::{group, make, members, test, unit};
use crate::world::new_user;

/// How many deeds a history has.
const DEEDS: usize = 150;

/// What there is, and who asks.
struct Story<'a> {
    site: &'a Site,
    /// Another process.
    other: &'a Hub,
    chance: StdRng,
    units: Vec<String>,
    users: Vec<String>,
    groups: Vec<String>,
    /// Applications, each with its tokens; some of them are good for nothing.
    callers: Vec<(Developer<'a>, Vec<String>)>,
    made: usize,
    ahead: i64,
}

impl<'a> Story<'a> {
    async fn begin(site: &'a Site, other: &'a Hub, seed: u64) -> Self {
        let hub = &site.hub;
        let (a, b) = (unit("A", ROOT_UNIT), unit("B", ROOT_UNIT));
        let (a, b) = (make(hub, a).await, make(hub, b).await);
        let below = make(hub, unit("Below", &a)).await;
        let groups = vec![make(hub, group("G")).await, make(hub, group("H")).await];
        let mut users = Vec::new();
        for (number, unit) in [&a, &a, &b, &b, &below, &below].into_iter().enumerate() {
            users.push(make(hub, Command::CreateUser(new_user(&format!("u{number}"), unit))).await);
        }
        let part = Scope {
            organizational_unit_ids: [a.clone()].into(),
            group_ids: [groups[0].clone()].into(),
        };
        let mut callers = Vec::new();
        for (name, scope) in [
            ("All", Scope::everything()),
            ("Too", Scope::everything()),
            ("Part", part.clone()),
            ("Like", part),
        ] {
            let developer = Developer::of(site, name, scope).await;
            let tokens = vec![developer.token.clone()];
            callers.push((developer, tokens));
        }
        Self {
            site,
            other,
            chance: StdRng::seed_from_u64(seed),
            units: vec![ROOT_UNIT.to_owned(), a, b, below],
            users,
            groups,
            callers,
            made: 0,
            ahead: 0,
        }
    }

    fn one_of(&mut self, of: fn(&Self) -> &Vec<String>) -> String {
        let index = self.chance.random_range(0..of(self).len());
        of(self)[index].clone()
    }

    fn name(&mut self, of: &str) -> String {
        self.made += 1;
        format!("{of}{}", self.made)
    }

    /// Does something to the directory; what is refused is nothing done.
    async fn change_directory(&mut self, hub: &Hub) {
        let (user, group_id) = (self.one_of(|it| &it.users), self.one_of(|it| &it.groups));
        let (unit_id, to) = (self.one_of(|it| &it.units), self.one_of(|it| &it.units));
        let text = self.name("text ");
        let changes = UserChanges::default();
        let command = match self.chance.random_range(0..20) {
            0..3 => Command::UpdateUser {
                id: user,
                changes: UserChanges {
                    display_name: Some(text),
                    ..changes
                },
            },
            3 => Command::UpdateUser {
                id: user,
                changes: UserChanges {
                    custom_fields: [("desk".to_owned(), Some(text))].into(),
                    ..changes
                },
            },
            4 => Command::DisableUser { id: user },
            5 => Command::EnableUser { id: user },
            6 => Command::LockUser {
                id: user,
                until: None,
            },
            7 => Command::UnlockUser { id: user },
            8..11 => Command::SetUnits {
                id: user,
                primary: unit_id,
                further: if self.chance.random_bool(0.5) {
                    vec![to]
                } else {
                    Vec::new()
                },
            },
            11..13 => Command::UpdateUnit {
                id: unit_id,
                changes: UnitChanges {
                    name: Some(text),
                    ..UnitChanges::default()
                },
            },
            13 => Command::MoveUnit {
                id: unit_id,
                parent_id: to,
            },
            14 => Command::UpdateGroup {
                id: group_id,
                changes: GroupChanges {
                    name: Some(text),
                    ..GroupChanges::default()
                },
            },
            15..17 => members(&group_id, &[&user]),
            17..19 => Command::RemoveMembers {
                group_id,
                user_ids: vec![user],
            },
            _ => Command::ExpireDue,
        };
        let _ = hub.apply(test(), command).await;
    }

    /// Makes or deletes somebody or something. What is deleted is still asked for.
    async fn come_and_go(&mut self, hub: &Hub) {
        let at = self.one_of(|it| &it.units);
        let name = self.name("new");
        match self.chance.random_range(0..6) {
            0..2 => {
                if let Ok(made) = hub.apply(test(), Command::CreateUser(new_user(&name, &at))).await {
                    self.users.push(made.id);
                }
            }
            2 => {
                let id = self.one_of(|it| &it.users);
                let _ = hub.apply(test(), Command::DeleteUser { id }).await;
            }
            3 => {
                if let Ok(made) = hub.apply(test(), unit(&name, &at)).await {
                    self.units.push(made.id);
                }
            }
            4 if self.units.len() > 4 => {
                let (id, cascade) = (self.units[self.units.len() - 1].clone(), Cascade::Yes);
                let _ = hub.apply(test(), Command::DeleteUnit { id, cascade }).await;
            }
            _ => {
                let made = make(hub, group(&name)).await;
                if self.chance.random_bool(0.5) {
                    let id = self.one_of(|it| &it.groups);
                    let _ = hub.apply(test(), Command::DeleteGroup { id }).await;
                }
                self.groups.push(made);
            }
        }
    }

    /// Gives something to an application, or takes it away.
    async fn change_access(&mut self, hub: &Hub) {
        let at = self.chance.random_range(0..self.callers.len());
        let id = self.callers[at].0.application.id.clone();
        let (unit_id, group_id) = (self.one_of(|it| &it.units), self.one_of(|it| &it.groups));
        match self.chance.random_range(0..8) {
            0 => {
                let kinds = [Grant::None, Grant::Read, Grant::Write];
                let granted = DeveloperApi {
                    enabled: self.chance.random_bool(0.8),
                    users: kinds[self.chance.random_range(0..3)],
                    organizational_units: kinds[self.chance.random_range(0..3)],
                    groups: kinds[self.chance.random_range(0..3)],
                    ..ALL
                };
                grant(hub, &id, granted).await;
            }
            1..3 => grant(hub, &id, ALL).await,
            3 => {
                let scope = match self.chance.random_bool(0.3) {
                    true => Scope::everything(),
                    false => Scope {
                        organizational_unit_ids: [unit_id].into(),
                        group_ids: [group_id].into(),
                    },
                };
                set_scope(hub, &id, &scope).await;
            }
            4 => {
                let token = self.callers[at].1.last().unwrap().clone();
                let secret = self.callers[at].0.secret.clone().into();
                let _ = rollcall::developer::token::revoke(hub, &id, &secret, &token).await;
            }
            5 => {
                let secrets = {
                    let id = id.clone();
                    hub.db
                        .read(move |tx| rollcall::application::developer::secrets::of(tx, &id))
                        .await
                        .unwrap()
                };
                for secret in secrets {
                    let revoke = AppCommand::RevokeClientSecret {
                        application_id: id.clone(),
                        id: secret.id,
                    };
                    hub.apply_application(test(), revoke).await.unwrap();
                }
                let until = self
                    .chance
                    .random_bool(0.5)
                    .then(|| self.site.hub.clock.now() + 30_000);
                let (_, text) = make_secret(hub, &id, until).await;
                self.callers[at].0.secret = text;
                self.get_token(at).await;
            }
            _ => self.get_token(at).await,
        }
    }

    async fn get_token(&mut self, at: usize) {
        let (developer, tokens) = &mut self.callers[at];
        let said = developer.grant(&developer.secret).await;
        if let Some(token) = said.body["access_token"].as_str() {
            tokens.push(token.to_owned());
        }
    }

    /// An application changes somebody.
    async fn write_as_application(&mut self) {
        let (at, user) = (
            self.chance.random_range(0..self.callers.len()),
            self.one_of(|it| &it.users),
        );
        let text = self.name("said ");
        let (developer, tokens) = &mut self.callers[at];
        developer.token = tokens.last().unwrap().clone();
        let path = format!("/users/{user}");
        developer
            .call("PATCH", &path, json!({ "description": text }))
            .await;
    }

    async fn do_something(&mut self) {
        let hub = if self.chance.random_bool(0.5) {
            self.site.hub.clone()
        } else {
            self.other.clone()
        };
        match self.chance.random_range(0..20) {
            0..9 => self.change_directory(&hub).await,
            9..12 => self.come_and_go(&hub).await,
            12..15 => self.change_access(&hub).await,
            15..18 => self.write_as_application().await,
            18 => {
                self.ahead += self.chance.random_range(0..400_000);
                self.site.clock.set(self.ahead);
            }
            // Retention takes the log away: what was since the last look is told no more.
            _ => {
                self.change_directory(&hub).await;
                let trim = hub
                    .db
                    .write(|tx| tx.execute("DELETE FROM changes", rollcall_db::params![]));
                trim.await.unwrap();
            }
        }
    }

    /// Asks for some of everything, with any token, and returns how many answers there were.
    async fn look(&mut self, about: &str) -> usize {
        let mut shown = 0;
        for _ in 0..self.chance.random_range(4..12) {
            let kind = self.chance.random_range(0..10);
            let path = match kind {
                0..6 => format!("/users/{}", self.one_of(|it| &it.users)),
                6..8 => format!("/groups/{}", self.one_of(|it| &it.groups)),
                _ => format!("/organizationalUnits/{}", self.one_of(|it| &it.units)),
            };
            let at = self.chance.random_range(0..self.callers.len());
            let (developer, tokens) = &mut self.callers[at];
            // The newest one mostly: of the others many are good for nothing.
            let last = tokens.len() - 1;
            let which = if self.chance.random_bool(0.8) {
                last
            } else {
                self.chance.random_range(0..=last)
            };
            developer.token = tokens[which].clone();
            let is = answered(developer, &path).await;
            let should = expected(self.other, &developer.token, &path).await;
            assert_eq!(is, should, "{about}: {path} for {}", developer.application.name);
            shown += usize::from(is.0 == 200);
        }
        shown
    }
}

#[test]
fn every_answer_is_that_of_somebody_who_remembers_nothing() {
    let seeds: Vec<u64> = match std::env::var("ROLLCALL_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => vec![1, 2, 3],
    };
    for seed in seeds {
        with_another("developer_history", |site, other| async move {
            let mut story = Story::begin(&site, &other, seed).await;
            // On PostgreSQL nothing is kept, so that what holds there is soon seen.
            let deeds = match site.hub.db.dialect() {
                Dialect::Sqlite => DEEDS,
                Dialect::Postgres => DEEDS / 5,
            };
            let mut shown = 0;
            for deed in 0..deeds {
                story.do_something().await;
                shown += story.look(&format!("seed {seed}, deed {deed}")).await;
            }
            assert!(
                shown > deeds,
                "only {shown} answers of seed {seed} showed somebody"
            );
        });
    }
}
