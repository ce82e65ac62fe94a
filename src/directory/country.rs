//! How numbers are dialled, country by country: enough of ITU-T E.164 and the national numbering plans to turn what
//! phones send into one spelling.

/// Dialling habits of one country.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Country(&'static Plan);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Plan {
    iso: &'static str,
    calling_code: &'static str,
    international_prefix: &'static str,
    /// Dialled before a national number and not part of it; empty where numbers are dialled whole.
    trunk_prefix: &'static str,
    /// Digits of a national number without the trunk prefix, shortest and longest.
    digits: (u8, u8),
}

impl Country {
    /// By ISO 3166-1 alpha-2 code, any case.
    pub fn from_iso(code: &str) -> Option<Country> {
        PLANS
            .iter()
            .find(|plan| plan.iso.eq_ignore_ascii_case(code))
            .map(Country)
    }

    /// Codes of all countries known, for messages.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        PLANS.iter().map(|plan| plan.iso)
    }

    pub fn iso(self) -> &'static str {
        self.0.iso
    }

    pub fn calling_code(self) -> &'static str {
        self.0.calling_code
    }

    pub(super) fn international_prefix(self) -> &'static str {
        self.0.international_prefix
    }

    pub(super) fn trunk_prefix(self) -> &'static str {
        self.0.trunk_prefix
    }

    /// Whether a national number, trunk prefix taken off, can have so many digits.
    pub(super) fn has_digits(self, count: usize) -> bool {
        (usize::from(self.0.digits.0)..=usize::from(self.0.digits.1)).contains(&count)
    }
}

macro_rules! plans {
    ($($iso:literal $code:literal $international:literal $trunk:literal $min:literal $max:literal;)*) => {
        &[$(Plan {
            iso: $iso,
            calling_code: $code,
            international_prefix: $international,
            trunk_prefix: $trunk,
            digits: ($min, $max),
        }),*]
    };
}

/// Lengths are those of ordinary subscriber numbers; where a country has no trunk prefix, shorter ones are left out,
/// because they cannot be told from internal extensions.
static PLANS: &[Plan] = plans! {
    "AE" "971" "00" "0" 8 9;
    "AR" "54" "00" "0" 10 11;
    "AT" "43" "00" "0" 7 13;
    "AU" "61" "0011" "0" 9 9;
    "BA" "387" "00" "0" 8 8;
    "BB" "1" "011" "1" 10 10;
    "BD" "880" "00" "0" 8 10;
    "BE" "32" "00" "0" 8 9;
    "BG" "359" "00" "0" 7 9;
    "BH" "973" "00" "" 8 8;
    "BR" "55" "00" "0" 10 11;
    "BS" "1" "011" "1" 10 10;
    "BY" "375" "810" "8" 9 9;
    "CA" "1" "011" "1" 10 10;
    "CH" "41" "00" "0" 9 9;
    "CL" "56" "00" "" 9 9;
    "CN" "86" "00" "0" 9 11;
    "CO" "57" "00" "" 10 10;
    "CR" "506" "00" "" 8 8;
    "CY" "357" "00" "" 8 8;
    "CZ" "420" "00" "" 9 9;
    "DE" "49" "00" "0" 6 11;
    "DK" "45" "00" "" 8 8;
    "DO" "1" "011" "1" 10 10;
    "DZ" "213" "00" "0" 8 9;
    "EC" "593" "00" "0" 8 9;
    "EE" "372" "00" "" 7 8;
    "EG" "20" "00" "0" 8 10;
    "ES" "34" "00" "" 9 9;
    "FI" "358" "00" "0" 6 12;
    "FR" "33" "00" "0" 9 9;
    "GB" "44" "00" "0" 9 10;
    "GH" "233" "00" "0" 9 9;
    "GR" "30" "00" "" 10 10;
    "HK" "852" "001" "" 8 8;
    "HR" "385" "00" "0" 8 9;
    "HU" "36" "00" "06" 8 9;
    "ID" "62" "001" "0" 8 12;
    "IE" "353" "00" "0" 7 9;
    "IL" "972" "00" "0" 8 9;
    "IN" "91" "00" "0" 10 10;
    "IS" "354" "00" "" 7 7;
    "IT" "39" "00" "" 8 11;
    "JM" "1" "011" "1" 10 10;
    "JO" "962" "00" "0" 8 9;
    "JP" "81" "010" "0" 9 10;
    "KE" "254" "000" "0" 9 9;
    "KR" "82" "001" "0" 8 10;
    "KW" "965" "00" "" 8 8;
    "KZ" "7" "810" "8" 10 10;
    "LB" "961" "00" "0" 7 8;
    "LK" "94" "00" "0" 9 9;
    "LT" "370" "00" "0" 8 8;
    "LU" "352" "00" "" 8 9;
    "LV" "371" "00" "" 8 8;
    "MA" "212" "00" "0" 9 9;
    "MT" "356" "00" "" 8 8;
    "MX" "52" "00" "" 10 10;
    "MY" "60" "00" "0" 8 10;
    "NG" "234" "009" "0" 8 10;
    "NL" "31" "00" "0" 9 9;
    "NO" "47" "00" "" 8 8;
    "NZ" "64" "00" "0" 8 10;
    "OM" "968" "00" "" 8 8;
    "PA" "507" "00" "" 7 8;
    "PE" "51" "00" "0" 8 9;
    "PH" "63" "00" "0" 8 10;
    "PK" "92" "00" "0" 9 10;
    "PL" "48" "00" "" 9 9;
    "PR" "1" "011" "1" 10 10;
    "PT" "351" "00" "" 9 9;
    "QA" "974" "00" "" 8 8;
    "RO" "40" "00" "0" 9 9;
    "RS" "381" "00" "0" 8 9;
    "RU" "7" "810" "8" 10 10;
    "SA" "966" "00" "0" 8 9;
    "SE" "46" "00" "0" 7 9;
    "SG" "65" "000" "" 8 8;
    "SI" "386" "00" "0" 8 8;
    "SK" "421" "00" "0" 9 9;
    "TH" "66" "001" "0" 8 9;
    "TN" "216" "00" "" 8 8;
    "TR" "90" "00" "0" 10 10;
    "TT" "1" "011" "1" 10 10;
    "TW" "886" "002" "0" 8 9;
    "UA" "380" "00" "0" 9 9;
    "US" "1" "011" "1" 10 10;
    "VE" "58" "00" "0" 10 10;
    "VN" "84" "00" "0" 9 10;
    "ZA" "27" "00" "0" 9 9;
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_is_found_by_its_code() {
        for code in Country::codes() {
            let country = Country::from_iso(&code.to_lowercase()).unwrap();
            assert_eq!(country.iso(), code);
            assert!(country.0.digits.0 <= country.0.digits.1 && country.0.digits.0 >= 6);
            assert!(country.calling_code().bytes().all(|b| b.is_ascii_digit()));
        }
        assert_eq!(Country::from_iso("XX"), None);
    }
}
