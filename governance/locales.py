"""Countries whose papers and numbers Presidio knows, beside what its English default looks for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Entities by country (ISO 3166-1 alpha-2, with Presidio's ``uk``), of Presidio 2.2.366. Those that its default looks for already are left out.
LOCALE_ENTITIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "au": ("AU_ABN", "AU_ACN", "AU_MEDICARE", "AU_TFN"),
        "ca": ("CA_POSTAL_CODE", "CA_SIN"),
        "de": (
            "DE_BSNR",
            "DE_FUEHRERSCHEIN",
            "DE_HANDELSREGISTER",
            "DE_HEALTH_INSURANCE",
            "DE_ID_CARD",
            "DE_KFZ",
            "DE_LANR",
            "DE_PASSPORT",
            "DE_PLZ",
            "DE_SOCIAL_SECURITY",
            "DE_TAX_ID",
            "DE_TAX_NUMBER",
            "DE_VAT_ID",
        ),
        "es": ("ES_NIE", "ES_NIF", "ES_PASSPORT"),
        "fi": ("FI_PERSONAL_IDENTITY_CODE",),
        "in": ("IN_AADHAAR", "IN_GSTIN", "IN_PAN", "IN_PASSPORT", "IN_VEHICLE_REGISTRATION", "IN_VOTER"),
        "it": ("IT_DRIVER_LICENSE", "IT_FISCAL_CODE", "IT_IDENTITY_CARD", "IT_PASSPORT", "IT_VAT_CODE"),
        "kr": ("KR_BRN", "KR_DRIVER_LICENSE", "KR_FRN", "KR_PASSPORT", "KR_RRN"),
        "ng": ("NG_NIN", "NG_VEHICLE_REGISTRATION"),
        "ph": ("PH_PASSPORT", "PH_TIN", "PH_UMID"),
        "pl": ("PL_PESEL",),
        "se": ("SE_ORGANISATIONSNUMMER", "SE_PERSONNUMMER"),
        "sg": ("SG_NRIC_FIN", "SG_UEN"),
        "th": ("TH_TNIN",),
        "tr": ("TR_LICENSE_PLATE", "TR_NATIONAL_ID"),
        "uk": ("UK_DRIVING_LICENCE", "UK_NINO", "UK_PASSPORT", "UK_POSTCODE", "UK_VEHICLE_REGISTRATION"),
        "us": (
            "ABA_ROUTING_NUMBER",
            "US_CLAIM_NUMBER",
            "US_HEALTH_INSURANCE_MEMBER_ID",
            "US_MBI",
            "US_NPI",
            "US_PRESCRIPTION_NUMBER",
            "US_PRIOR_AUTHORIZATION_NUMBER",
            "US_PROVIDER_TAX_ID",
            "US_REFERRAL_NUMBER",
        ),
        "za": (
            "ZA_COMPANY_REGISTRATION",
            "ZA_DRIVER_LICENSE",
            "ZA_ID_NUMBER",
            "ZA_INCOME_TAX_NUMBER",
            "ZA_LICENSE_PLATE",
            "ZA_PASSPORT",
            "ZA_TRAFFIC_REGISTER_NUMBER",
            "ZA_VAT_NUMBER",
        ),
    }
)
