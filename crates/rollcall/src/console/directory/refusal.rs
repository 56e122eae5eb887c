//! From why the door refuses a command to what the form says that asked for it.

use crate::console::error::Failure;
use crate::console::form::Filled;
use crate::console::page::Page;
use crate::directory::DirectoryError;

/// The field of a form in which a field of the wire is written.
fn field_of(wire: &'static str) -> &'static str {
    match wire {
        "organizationalUnitName" | "groupName" => "name",
        "userExternalId" | "organizationalUnitExternalId" | "groupExternalId" | "external id" => "externalId",
        "phone number" => "phoneNumber",
        "organizationalUnitIds" => "further",
        other => other,
    }
}

/// The text that says what a field takes.
fn rule_of(field: &str) -> &'static str {
    match field {
        "username" => "rule-username",
        "displayName" | "name" => "rule-name",
        "email" => "rule-email",
        "phoneNumber" => "rule-phone-number",
        "phoneRegion" => "rule-phone-region",
        "description" => "rule-description",
        "externalId" => "rule-external-id",
        "customFields" => "rule-custom",
        "password" => "rule-password",
        "until" => "rule-time",
        "further" => "rule-units",
        _ => "rule-other",
    }
}

/// Says in a form why its command was refused. What a form cannot mend is given back.
pub(super) fn explain(form: &mut Filled, page: &Page, error: DirectoryError) -> Result<(), Failure> {
    match error {
        DirectoryError::InvalidField { field, .. } => {
            let field = field_of(field);
            form.refuse(field, page.t(rule_of(field)));
        }
        DirectoryError::Taken { what, holder, .. } => {
            form.refuse(field_of(what), page.t1("form-taken", "holder", holder));
        }
        DirectoryError::Cycle { .. } => form.refuse("parent", page.t("unit-cycle")),
        DirectoryError::PlanChanged => form.warn(page.t("form-plan-changed")),
        DirectoryError::Changed { .. } => form.warn(page.t("form-changed")),
        other => return Err(other.into()),
    }
    Ok(())
}

/// Says that nothing is called as a field has it.
pub(super) fn unknown(form: &mut Filled, page: &Page, field: &str, key: &str, text: &str) {
    form.refuse(field, page.t1(key, "text", text));
}
