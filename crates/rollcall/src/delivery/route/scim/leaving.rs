//! The groups of whoever has left and stays at the application as a disabled account.
//!
//! A deletion tells an application that its memberships are gone too. One that is only disabled keeps them there, and
//! whoever gets that account afterwards would have them; so the account is taken out of the hub's groups. Which those
//! are, the change of the directory says. Where there is none, as for a deletion that is sent again, the application is
//! asked.

use rollcall_protocol::SubjectKind;
use rollcall_scim::AttrPath;
use rollcall_scim::client::{Call, GroupUpdate, MemberChange, Membership, Method, Outcome, Refusal};
use rollcall_scim::filter::{Filter, Literal, Operator};
use serde_json::Value;

use super::carry::{Broken, Carrier, Outside, remark};
use super::memory::Key;
use super::users_in;
use crate::delivery::model::{Remark, Verdict};

/// How often a group that changes meanwhile is read again.
const READ_AGAIN: u32 = 3;

impl<O: Outside> Carrier<'_, O> {
    /// Takes an account out of the hub's groups that it is in: these, or those that the application names. What is refused
    /// of that is the verdict.
    pub(super) async fn take_out(
        &mut self,
        groups: Option<&[String]>,
        account: &str,
    ) -> Result<Verdict, Broken<O::Error>> {
        let groups = match groups {
            Some(groups) => groups.to_vec(),
            None => self.groups_of(account).await?,
        };
        let keys: Vec<Key> = groups
            .into_iter()
            .map(|group| (SubjectKind::Group, group))
            .collect();
        self.recall(keys.clone()).await?;
        for key in keys {
            let Some(group) = self.remote(&key) else {
                continue;
            };
            let refusal = match self.scim.profile.groups {
                GroupUpdate::Change => {
                    let leaves = MemberChange {
                        id: account.to_owned(),
                        joins: false,
                    };
                    let mut membership = Membership::change(&self.scim.profile, &group.id, vec![leaves]);
                    let refusal = self.tell(&mut membership).await?;
                    refusal.or_else(|| membership.refused().first().map(|(_, refusal)| refusal.clone()))
                }
                GroupUpdate::Replace => self.replace(&key.1, &group.id).await?,
                GroupUpdate::Put => self.put_without(&group.id, account).await?,
            };
            // In a group that is gone, nobody is.
            let Some(refusal) = refusal.filter(|refusal| refusal.status != 404) else {
                continue;
            };
            return Ok(match refusal.status {
                412 => Verdict::Again(remark(&refusal)),
                _ => Verdict::Refused(Remark {
                    code: "groups_kept".to_owned(),
                    ..remark(&refusal)
                }),
            });
        }
        Ok(Verdict::Accepted)
    }

    /// The hub's groups in which an account is, as far as the application finds that out.
    async fn groups_of(&mut self, account: &str) -> Result<Vec<String>, Broken<O::Error>> {
        let filter = Filter::Compare {
            path: AttrPath {
                sub: Some("value".to_owned()),
                ..AttrPath::new("members")
            },
            operator: Operator::Eq,
            value: Literal::String(account.to_owned()),
        };
        let query = vec![
            ("filter", filter.to_string()),
            ("attributes", "id,members".to_owned()),
        ];
        let reply = self.outside.read(Call::get("Groups", query)).await;
        let reply = reply.map_err(Broken::Outside)?;
        let found = match reply.status {
            _ if reply.is_success() => reply.body.unwrap_or_default(),
            // It does not look for members.
            400 | 404 | 501 => return Ok(Vec::new()),
            _ => return Err(Broken::Failed(reply.refusal())),
        };
        let mut groups = Vec::new();
        for group in found["Resources"].as_array().into_iter().flatten() {
            // One that passes over a filter answers with any group.
            let is_in = users_in(Some(group)).contains(account);
            let Some(id) = group["id"].as_str().filter(|_| is_in) else {
                continue;
            };
            groups.extend(self.holder(SubjectKind::Group, id).await?);
        }
        Ok(groups)
    }

    /// Replaces a group by what it is there, without one of its members.
    async fn put_without(&mut self, group: &str, account: &str) -> Result<Option<Refusal>, Broken<O::Error>> {
        let mut stale = 0;
        loop {
            let read = Call::get("Groups", Vec::new()).of(group);
            let reply = self.outside.read(read).await.map_err(Broken::Outside)?;
            if reply.status == 404 {
                return Ok(None);
            }
            let (is_read, refusal) = (reply.is_success(), reply.refusal());
            let Some(Value::Object(mut whole)) = reply.body.filter(|_| is_read) else {
                return Err(Broken::Failed(refusal));
            };
            whole.remove("meta");
            let Some(Value::Array(members)) = whole.get_mut("members") else {
                return Ok(None);
            };
            let before = members.len();
            members.retain(|member| member["value"] != account);
            if members.len() == before {
                return Ok(None);
            }
            let call = Call {
                if_match: reply.etag.filter(|_| self.scim.profile.etags),
                ..Call::new(Method::Put, "Groups").of(group).with(whole.into())
            };
            let reply = self.outside.send(call).await.map_err(Broken::Outside)?;
            match reply.status {
                _ if reply.is_success() => return Ok(None),
                412 if stale < READ_AGAIN => stale += 1,
                412 => return Ok(Some(reply.refusal())),
                _ => {
                    return match reply.verdict() {
                        Outcome::Refused(refusal) => Ok(Some(refusal)),
                        _ => Err(Broken::Failed(reply.refusal())),
                    };
                }
            }
        }
    }
}
