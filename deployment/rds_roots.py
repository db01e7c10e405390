"""The certificates of Amazon RDS, with which the images verify the database.

`python -m deployment.rds_roots FILE` writes them again from a newer bundle of AWS. Download that
from https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem.
"""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from deployment.errors import UsageError
from deployment.template_files import FOLDER

ROOTS = FOLDER.parent / "database" / "rds_roots.pem"

_HEADING = """\
# The roots of Amazon RDS, which sign the certificates of its database servers. They are public:
# global-bundle.pem of AWS without expired, beta and preview roots. How to renew this file:
# deployment/README.md, "The certificates of the database".
"""
_NAME = re.compile(r"Amazon RDS (?P<region>[a-z]+(-[a-z]+)+-\d) Root CA \w+ G\d")


def check_region(region: str) -> None:
    """Require that the images can verify a database in this region.

    Raises:
        UsageError: the file has no root for the region.
    """
    if f"# Amazon RDS {region} Root CA" not in ROOTS.read_text(encoding="utf-8"):
        raise UsageError(
            f"{ROOTS.name} has no certificate for databases in {region}. Write it again from the "
            "present bundle of AWS, as deployment/README.md describes, or choose another --region."
        )


def select_roots(bundle: bytes) -> str:
    """Return the text of the file: the roots that sign themselves and have not expired, by name.

    Raises:
        InvalidSignature, ValueError: a certificate is not signed by itself.
    """
    roots: dict[str, str] = {}
    for certificate in x509.load_pem_x509_certificates(bundle):
        [name] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        if _NAME.fullmatch(str(name.value)) and certificate.not_valid_after_utc > datetime.now(UTC):
            certificate.verify_directly_issued_by(certificate)
            roots[str(name.value)] = certificate.public_bytes(Encoding.PEM).decode()
    return _HEADING + "".join(f"\n# {name}\n{roots[name]}" for name in sorted(roots))


if __name__ == "__main__":
    ROOTS.write_text(select_roots(Path(sys.argv[1]).read_bytes()), encoding="utf-8")
