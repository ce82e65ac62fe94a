//! `callreel user`, but for passwords.

use serde_json::{Value, json};

use super::{OUTCOMES, Office, Place, escaped, policy};
use crate::cli::installation::Installation;
use crate::cli::output;
use crate::cli::selection::Store;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the users of a tenant.
    List(List),
    /// Show a user.
    Show(One),
    /// Change a user: another group, another role, not active any more.
    #[command(after_help = OUTCOMES)]
    Edit(Box<Edit>),
    /// Remove a user; calls keep the login, which nobody is given again.
    #[command(after_help = OUTCOMES)]
    Remove(One),
    /// Show what a user may do at this moment, and through what.
    Permissions(One),
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// In this group: its name or id
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// With this role: its name or id
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Active ones, or those that are not
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    active: Option<bool>,
    /// With this in login, name or e-mail address
    #[arg(long)]
    text: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub struct One {
    /// The user's login or id
    login: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub struct Edit {
    #[command(flatten)]
    one: One,
    #[arg(long)]
    name: Option<String>,
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    #[arg(long, conflicts_with = "email")]
    no_email: bool,
    /// The group that the user is in: its name or id
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    #[arg(long, conflicts_with = "group")]
    no_group: bool,
    /// The role: its name or id
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// A group that the user looks after; may be given several times, and replaces those there were
    #[arg(long, value_name = "GROUP")]
    manages: Vec<String>,
    /// The user looks after no group
    #[arg(long, conflicts_with = "manages")]
    manages_none: bool,
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    active: Option<bool>,
    /// From then on the user cannot sign in, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    valid_until: Option<String>,
    #[arg(long, conflicts_with = "valid_until")]
    no_valid_until: bool,
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    must_change_password: Option<bool>,
    /// The user's calls are seen by nobody else, unless a role says so
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    confidential: Option<bool>,
    /// all, none, on-demand, or a share of calls such as 25%
    #[arg(long, value_name = "POLICY")]
    recording_policy: Option<String>,
    /// The tenant's policy holds for the user
    #[arg(long, conflicts_with = "recording_policy")]
    no_recording_policy: bool,
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no".into()),
    }
}

/// Does what was asked.
pub async fn execute(
    installation: &Installation,
    store: &Store,
    command: &Command,
) -> anyhow::Result<()> {
    match command {
        Command::List(list) => {
            let office = Office::open(installation, store, &list.place).await?;
            let users = office.list("users", &list.query(&office).await?).await?;
            let columns = [
                ("LOGIN", "login"),
                ("NAME", "name"),
                ("ROLE", "role"),
                ("ACTIVE", "active"),
                ("VALID UNTIL", "valid_until"),
                ("ID", "id"),
            ];
            office.show_all(&users, &columns)
        }
        Command::Show(one) => {
            let office = Office::open(installation, store, &one.place).await?;
            office.show(&office.read("users", "login", &one.login).await?.1.body)
        }
        Command::Edit(edit) => {
            let office = Office::open(installation, store, &edit.one.place).await?;
            let (path, read) = office.read("users", "login", &edit.one.login).await?;
            let body = edit.body(&office).await?;
            let edited = office.inside.edit(&path, &read, body).await?.body;
            office.tell(&edited, &format!("{} is changed", edit.one.login))
        }
        Command::Remove(one) => {
            let office = Office::open(installation, store, &one.place).await?;
            office.remove("users", "login", &one.login).await
        }
        Command::Permissions(one) => {
            let office = Office::open(installation, store, &one.place).await?;
            let (path, _) = office.read("users", "login", &one.login).await?;
            let told = office
                .inside
                .get(&format!("{path}/effective-permissions"))
                .await?
                .body;
            show_permissions(&office, &told)
        }
    }
}

impl List {
    async fn query(&self, office: &Office) -> anyhow::Result<String> {
        let mut query = String::new();
        if let Some(group) = &self.group {
            let id = office.group(group).await?;
            query += &format!("&group_id={}", id.as_str().unwrap_or_default());
        }
        if let Some(role) = &self.role {
            let role = office.find("roles", "name", role).await?;
            query += &format!("&role_id={}", role["role_id"].as_str().unwrap_or_default());
        }
        if let Some(active) = self.active {
            query += &format!("&active={active}");
        }
        if let Some(text) = &self.text {
            query += &format!("&text={}", escaped(text));
        }
        Ok(query)
    }
}

impl Edit {
    /// What is to be changed, as the API has it.
    async fn body(&self, office: &Office) -> anyhow::Result<Value> {
        let mut body = json!({});
        let mut set = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[field] = value;
            }
        };
        let text = |given: &Option<String>, none: bool| {
            let given = given.as_ref().map(|text| json!(text));
            given.or_else(|| none.then_some(Value::Null))
        };
        set("name", text(&self.name, false));
        set("email", text(&self.email, self.no_email));
        set("valid_until", text(&self.valid_until, self.no_valid_until));
        set("active", self.active.map(Value::Bool));
        set("confidential", self.confidential.map(Value::Bool));
        set(
            "must_change_password",
            self.must_change_password.map(Value::Bool),
        );
        set("group_id", self.no_group.then_some(Value::Null));
        set("managed_groups", self.manages_none.then(|| json!([])));
        set(
            "recording_policy",
            self.no_recording_policy.then_some(Value::Null),
        );
        if let Some(text) = &self.recording_policy {
            set("recording_policy", Some(policy(text)?));
        }
        if let Some(group) = &self.group {
            set("group_id", Some(office.group(group).await?));
        }
        if let Some(role) = &self.role {
            let role = office.find("roles", "name", role).await?;
            set("role_id", Some(role["role_id"].clone()));
        }
        if !self.manages.is_empty() {
            let mut groups = Vec::new();
            for group in &self.manages {
                groups.push(office.group(group).await?);
            }
            set("managed_groups", Some(json!(groups)));
        }
        Ok(body)
    }
}

fn show_permissions(office: &Office, told: &Value) -> anyhow::Result<()> {
    if office.json {
        return output::print_json(told);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![
        format!(
            "{}: role {}, access level {}",
            text(&told["login"]),
            text(&told["role"]["name"]),
            text(&told["access_level"])
        ),
        format!("reach: {}", text(&told["reach"]["description"])),
    ];
    for group in told["reach"]["groups"].as_array().into_iter().flatten() {
        lines.push(format!("    {}", text(&group["name"])));
    }
    for limit in told["limits"].as_array().into_iter().flatten() {
        lines.push(format!("limit: {}", text(&limit["description"])));
    }
    for line in lines {
        output::print(&format!("{}\n", output::harmless(&line)));
    }
    output::print("\n");
    let mut table = output::Table::new(&["RESOURCE", "OPERATIONS"]);
    for (resource, operations) in told["permissions"].as_object().into_iter().flatten() {
        table.row(vec![resource.clone(), super::shown(operations)]);
    }
    table.print();
    Ok(())
}
