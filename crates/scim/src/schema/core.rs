//! The types of resources that the standard defines: RFC 7643 section 4.

use std::sync::LazyLock;

use super::{Attribute, Extension, Mutability, ResourceType, Returned, Schema, Uniqueness};

/// The schema of users.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The schema of groups.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The schema of what organizations know of users.
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Users, with the extension for enterprises.
pub fn user() -> &'static ResourceType {
    static USERS: LazyLock<ResourceType> = LazyLock::new(|| ResourceType {
        name: "User".to_owned(),
        endpoint: "/Users".to_owned(),
        description: "People who have an account.".to_owned(),
        schema: Schema {
            id: USER.to_owned(),
            name: "User".to_owned(),
            description: "A user account.".to_owned(),
            attributes: user_attributes(),
        },
        extensions: vec![Extension {
            schema: Schema {
                id: ENTERPRISE_USER.to_owned(),
                name: "EnterpriseUser".to_owned(),
                description: "What an organization knows of a user.".to_owned(),
                attributes: enterprise_attributes(),
            },
            required: false,
        }],
    });
    &USERS
}

/// Groups.
pub fn group() -> &'static ResourceType {
    static GROUPS: LazyLock<ResourceType> = LazyLock::new(|| ResourceType {
        name: "Group".to_owned(),
        endpoint: "/Groups".to_owned(),
        description: "Groups of users.".to_owned(),
        schema: Schema {
            id: GROUP.to_owned(),
            name: "Group".to_owned(),
            description: "A group.".to_owned(),
            attributes: group_attributes(),
        },
        extensions: Vec::new(),
    });
    &GROUPS
}

use Attribute as A;

/// A multi-valued attribute whose values have a type and of which one may be the primary one.
fn plural(name: &str, description: &str, value: A, types: &[&str]) -> A {
    let parts = vec![
        value,
        A::text("display", "The value, for people."),
        A::text("type", "What the value is for.").usually(types),
        A::boolean("primary", "Whether it is the preferred value; at most one is."),
    ];
    A::complex(name, description, parts).many()
}

fn user_attributes() -> Vec<A> {
    let name = vec![
        A::text("formatted", "The whole name, for people."),
        A::text("familyName", "The family name."),
        A::text("givenName", "The given name."),
        A::text("middleName", "The middle names."),
        A::text("honorificPrefix", "What stands before the name, such as Dr."),
        A::text("honorificSuffix", "What stands behind the name, such as III."),
    ];
    let addresses = vec![
        A::text("formatted", "The whole address, for people."),
        A::text("streetAddress", "Street and number."),
        A::text("locality", "The city."),
        A::text("region", "The state or region."),
        A::text("postalCode", "The postal code."),
        A::text("country", "The country, by two letters."),
        A::text("type", "What the address is for.").usually(&["work", "home", "other"]),
        A::boolean("primary", "Whether it is the preferred value; at most one is."),
    ];
    let groups = vec![
        A::text("value", "The id of the group.").exact().read_only(),
        A::reference("$ref", "Where the group is.", &["Group"]).read_only(),
        A::text("display", "The name of the group.").read_only(),
        A::text("type", "Whether the user is in the group itself.")
            .usually(&["direct", "indirect"])
            .read_only(),
    ];
    vec![
        A::text("userName", "The name to sign in with.")
            .required()
            .unique(Uniqueness::Server),
        A::complex("name", "The parts of the name.", name),
        A::text("displayName", "The name for people."),
        A::text("nickName", "The casual name."),
        A::reference("profileUrl", "A page about the user.", &["external"]),
        A::text("title", "The title, such as Vice President."),
        A::text(
            "userType",
            "How the user belongs to the organization, such as Contractor.",
        ),
        A::text(
            "preferredLanguage",
            "The preferred languages, as in Accept-Language.",
        ),
        A::text("locale", "The locale, such as en-US."),
        A::text("timezone", "The time zone, such as America/Los_Angeles."),
        A::boolean("active", "Whether the user may sign in."),
        A::text("password", "The password, in clear text.")
            .exact()
            .mutability(Mutability::WriteOnly)
            .returned(Returned::Never),
        plural(
            "emails",
            "Email addresses.",
            A::text("value", "The address."),
            &["work", "home", "other"],
        ),
        plural(
            "phoneNumbers",
            "Phone numbers.",
            A::text("value", "The number."),
            &["work", "home", "mobile", "fax", "pager", "other"],
        ),
        plural(
            "ims",
            "Addresses for instant messages.",
            A::text("value", "The address."),
            &["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"],
        ),
        plural(
            "photos",
            "Pictures.",
            A::reference("value", "Where the picture is.", &["external"]),
            &["photo", "thumbnail"],
        ),
        A::complex("addresses", "Postal addresses.", addresses).many(),
        A::complex("groups", "The groups of the user.", groups)
            .many()
            .read_only(),
        plural(
            "entitlements",
            "What the user is entitled to.",
            A::text("value", "The entitlement."),
            &[],
        ),
        plural("roles", "What the user is.", A::text("value", "The role."), &[]),
        plural(
            "x509Certificates",
            "Certificates.",
            A::binary("value", "The certificate in DER."),
            &[],
        ),
    ]
}

fn enterprise_attributes() -> Vec<A> {
    let manager = vec![
        A::text("value", "The id of the manager.").exact(),
        A::reference("$ref", "Where the manager is.", &["User"]),
        A::text("displayName", "The name of the manager.").read_only(),
    ];
    vec![
        A::text(
            "employeeNumber",
            "The number that the organization gave the user.",
        ),
        A::text("costCenter", "The cost center."),
        A::text("organization", "The organization."),
        A::text("division", "The division."),
        A::text("department", "The department."),
        A::complex("manager", "The manager.", manager),
    ]
}

fn group_attributes() -> Vec<A> {
    let fixed = Mutability::Immutable;
    let members = vec![
        A::text("value", "The id of the member.")
            .exact()
            .mutability(fixed),
        A::reference("$ref", "Where the member is.", &["User", "Group"]).mutability(fixed),
        A::text("display", "The name of the member.").read_only(),
        A::text("type", "What the member is.")
            .usually(&["User", "Group"])
            .mutability(fixed),
    ];
    vec![
        A::text("displayName", "The name of the group.").required(),
        A::complex("members", "Who is in the group.", members).many(),
    ]
}
