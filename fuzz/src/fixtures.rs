//! One hub and one application, whose keys are those of `docs/vectors`.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rollcall_protocol::{
    EncryptionKey, Event, EventBatch, EventType, JwkSet, KeySet, OpenError, Opened, Opener, Random,
    SealParams, SigningKey, UserPayload, seal,
};

pub(crate) const APP: &str = "app_test";
pub(crate) const INSTANCE: &str = "idaas_test";
pub(crate) const NOW: i64 = 1_700_000_000_500;
pub(crate) const SECRET: [u8; 32] = [7; 32];

/// Randomness that is always the same.
pub(crate) struct Counting;

impl Random for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for (byte, value) in buffer.iter_mut().zip(1..) {
            *byte = value;
        }
    }
}

/// Both ends of the wire, and what was signed once.
pub(crate) struct Wire {
    pub(crate) signing: SigningKey,
    pub(crate) keys: KeySet,
    pub(crate) secret: EncryptionKey,
    /// Two bodies of the same batch, one of them encrypted, and what is in them.
    pub(crate) sealed: [(String, Opened); 2],
}

impl Wire {
    pub(crate) fn opener(&self) -> Opener<'_> {
        Opener {
            decryption: Some(&self.secret),
            ..Opener::new(&self.keys, APP)
        }
    }

    pub(crate) fn seal(&self, batch: &EventBatch, encryption: Option<&EncryptionKey>) -> String {
        let params = SealParams {
            key: &self.signing,
            instance_id: INSTANCE,
            application_id: APP,
            encryption,
            now_ms: NOW,
            random: &Counting,
        };
        seal(batch, &params).unwrap().body
    }

    /// Opens claims that were signed, with the payload in them. Under libFuzzer nobody signs: that would be nearly
    /// all that it does.
    pub(crate) fn open_claims(&self, claims: &[u8]) -> Result<(Opened, String), OpenError> {
        #[cfg(fuzzing)]
        return self.opener().open_unverified(claims, NOW);
        #[cfg(not(fuzzing))]
        self.opener()
            .open_jwt_with_payload(&self.sign(r#"{"alg":"RS256","kid":"KEYtest"}"#, claims), NOW)
    }

    /// A compact JWS of a header and claims, whatever they are.
    pub(crate) fn sign(&self, header: &str, claims: impl AsRef<[u8]>) -> String {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = self.signing.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

pub(crate) fn wire() -> &'static Wire {
    static WIRE: OnceLock<Wire> = OnceLock::new();
    WIRE.get_or_init(|| {
        let pem = include_str!("../../docs/vectors/signing-key.pem");
        let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let signing = SigningKey::from_pkcs8("KEYtest", &STANDARD.decode(der).unwrap()).unwrap();
        let keys = JwkSet {
            keys: vec![signing.public_jwk()],
        }
        .verifier();
        let secret = EncryptionKey::from_hex(&"07".repeat(32)).unwrap();
        let mut wire = Wire {
            signing,
            keys,
            secret,
            sealed: [(String::new(), opened(false)), (String::new(), opened(true))],
        };
        let secret = wire.secret.clone();
        wire.sealed[0].0 = wire.seal(&sample(), None);
        wire.sealed[1].0 = wire.seal(&sample(), Some(&secret));
        wire
    })
}

fn opened(encrypted: bool) -> Opened {
    let issued_at_ms = NOW / 1_000 * 1_000;
    Opened {
        jti: URL_SAFE_NO_PAD.encode(std::array::from_fn::<u8, 16, _>(|index| index as u8 + 1)),
        issued_at_ms,
        expires_at_ms: issued_at_ms + rollcall_protocol::VALID_FOR_S * 1_000,
        instance_id: INSTANCE.to_owned(),
        kid: "KEYtest".to_owned(),
        encrypted,
        batch: sample(),
    }
}

/// A batch of one event.
pub(crate) fn sample() -> EventBatch {
    let user = UserPayload {
        user_id: "user_1".to_owned(),
        username: Some("ada".to_owned()),
        display_name: Some("Ada \"Countess\" Lovelace ☃".to_owned()),
        ..UserPayload::default()
    };
    EventBatch {
        instance_id: INSTANCE.to_owned(),
        event_version: "V1.0".to_owned(),
        ali_uid: "1021000000000000".to_owned(),
        events: vec![Event {
            event_id: "evnt_1".to_owned(),
            event_type: EventType::UserCreate.urn().to_owned(),
            event_time: 1_700_000_000_123,
            biz_id: "user_1".to_owned(),
            biz_data: user.to_json(),
        }],
    }
}

/// A compact JWE under the shared key, of a header and a text, whatever they are.
pub(crate) fn encrypt(header: &[u8], text: &[u8]) -> String {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    let header = URL_SAFE_NO_PAD.encode(header);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &SECRET).unwrap());
    let nonce = [9; 12];
    let mut data = text.to_vec();
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header.as_bytes()),
            &mut data,
        )
        .unwrap();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!(
        "{header}..{}.{}.{}",
        encode(&nonce),
        encode(&data),
        encode(tag.as_ref())
    )
}
