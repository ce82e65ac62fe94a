//! What the API needs to sign people in, out of the configuration.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::access::{PasswordCost, SessionLimits};
use crate::api::{Api, PASSWORD_PAGE, SignInSettings};
use crate::config::{Mail, MailTls, Settings};
use crate::mail::{Encryption, LetterCounters, Mailer, Outbox, Settings as MailSettings};

pub(super) fn settings(settings: &Settings) -> SignInSettings {
    let access = &settings.access;
    let minutes = |minutes: u32| Duration::from_secs(u64::from(minutes) * 60);
    SignInSettings {
        base_url: access.base_url.clone(),
        reset_url: access.reset_url.clone().or_else(|| {
            let base_url = access.base_url.as_deref()?;
            Some(format!("{base_url}{PASSWORD_PAGE}"))
        }),
        limits: SessionLimits {
            idle: minutes(access.session_idle_minutes),
            absolute: minutes(access.session_hours * 60),
            step_up: minutes(access.step_up_minutes),
        },
        cost: PasswordCost {
            memory_kib: access.argon2_memory_kib,
            passes: access.argon2_passes,
        },
        key_file: access.key_file.clone(),
        ..SignInSettings::default()
    }
}

/// Sends the API's letters, for ever, if the configuration says by whom. A mail server that cannot be used keeps nobody from
/// anything else.
pub(super) async fn send_letters(api: Api, mail: Option<Mail>, counters: Arc<LetterCounters>) {
    let Some(mail) = mail else { return };
    match mailer(&mail) {
        Ok(mailer) => {
            let (outbox, sending) = Outbox::counted(mailer, counters);
            api.set_outbox(outbox);
            sending.await;
        }
        Err(error) => tracing::error!(%error, "no letters are written"),
    }
}

fn mailer(mail: &Mail) -> anyhow::Result<Mailer> {
    let trusted = mail.trusted.as_ref().map(|path| {
        std::fs::read(path)
            .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))
    });
    let password = mail.password.as_ref();
    let password = password.map(|password| Zeroizing::new(password.reveal().to_owned()));
    Ok(Mailer::new(&MailSettings {
        host: mail.host.clone(),
        port: mail.port,
        encryption: match mail.tls {
            MailTls::None => Encryption::None,
            MailTls::StartTls => Encryption::StartTls,
            MailTls::Tls => Encryption::Tls,
        },
        trusted: trusted.transpose()?,
        credentials: mail.user.clone().zip(password),
        from: mail.from.clone(),
    })?)
}
