"""Send requests to the local AWS, which runs as a separate process."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_cloud import processes
from local_cloud.logs import Log
from local_cloud.settings import Settings
from local_cloud.supervisor import build_wiring
from local_cloud.template import Template
from tests.support.local_system import wait_until

KEY = "originals/0123456789abcdef.jpg"


class LocalAWS:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {"PATH": os.environ["PATH"], "LOCAL_STATE_DIR": str(folder)}
        self.settings = Settings.read(environment, folder)
        template = Template.read(
            {
                "ImageBucketName": self.settings.image_bucket,
                "ThumbnailBucketName": self.settings.thumbnail_bucket,
            }
        )
        self.wiring = build_wiring(template, self.settings)
        self.start()

    def start(self) -> None:
        arguments = ["--port", str(self.settings.aws_port), "--folder", str(self.folder)]
        self.process = processes.spawn(
            ["-m", "local_cloud.aws_server", *arguments, "--wiring", self.wiring.to_json()],
            self.settings.aws_server_environment(self.folder),
            Log(self.folder / "aws.log"),
        )
        wait_until(lambda: processes.listens(self.settings.aws_port), seconds=20)

    def kill(self) -> None:
        processes.stop(self.process)

    def client(self, service: str):
        return boto3.client(
            service,
            endpoint_url=self.settings.aws_url,
            region_name="us-east-1",
            aws_access_key_id=self.settings.access_key.id,
            aws_secret_access_key=self.settings.access_key.secret,
            config=Config(signature_version="s3v4" if service == "s3" else None),
        )

    def events(self, queue: str) -> list[dict]:
        """Receive and delete all events of a queue."""
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    # In a folder of its own, because a test looks for files that were written beside it.
    folder = tmp_path_factory.mktemp("aws") / "state"
    folder.mkdir()
    local = LocalAWS(folder)
    yield local
    local.kill()


@pytest.fixture
def s3(aws):
    yield aws.client("s3")
    for queue in ("annotation", "thumbnail"):
        aws.events(queue)


@pytest.fixture
def originals(aws):
    return aws.settings.image_bucket


@pytest.mark.slow
def test_a_stored_object_survives_sigkill_and_sends_no_second_event(aws, originals, s3):
    headers = {"ContentType": "image/jpeg", "CacheControl": "max-age=60", "Metadata": {"a": "b"}}
    s3.put_object(Bucket=originals, Key=KEY, Body=b"original", **headers)

    aws.kill()
    aws.start()

    stored = s3.get_object(Bucket=originals, Key=KEY)
    assert stored["Body"].read() == b"original"
    assert {name: stored[name] for name in headers} == headers
    assert aws.events("annotation") == []


@pytest.mark.slow
def test_objects_of_a_previous_run_can_be_listed_copied_replaced_and_deleted(aws, originals, s3):
    keys = [f"originals/earlier-{number}.jpg" for number in range(4)]
    for key in keys:
        s3.put_object(Bucket=originals, Key=key, Body=b"earlier")

    aws.kill()
    aws.start()
    s3.copy_object(Bucket=originals, Key="originals/z.jpg", CopySource=f"{originals}/{keys[0]}")
    s3.put_object(Bucket=originals, Key=keys[1], Body=b"later")
    s3.delete_object(Bucket=originals, Key=keys[2])

    assert s3.get_object(Bucket=originals, Key="originals/z.jpg")["Body"].read() == b"earlier"
    assert s3.get_object(Bucket=originals, Key=keys[1])["Body"].read() == b"later"
    listed = s3.list_objects_v2(Bucket=originals, Prefix="originals/earlier-")["Contents"]
    assert [found["Key"] for found in listed] == [keys[0], keys[1], keys[3]]
    keys_of_events = [event["detail"]["object"]["key"] for event in aws.events("thumbnail")]
    assert keys_of_events == ["originals/z.jpg", keys[1]]


@pytest.mark.slow
def test_a_deleted_object_stays_deleted(aws, originals, s3):
    keys = [f"originals/{name}.jpg" for name in ("one", "two", "three")]
    for key in keys:
        s3.put_object(Bucket=originals, Key=key, Body=b"original")

    s3.delete_object(Bucket=originals, Key=keys[0])
    s3.delete_objects(Bucket=originals, Delete={"Objects": [{"Key": key} for key in keys[1:]]})

    assert not [path for path in aws.folder.rglob("*") if path.stem in ("one", "two", "three")]


def test_copied_and_multipart_objects_are_stored_completely(aws, originals, s3):
    part_bytes = b"x" * 5 * 1024 * 1024
    upload = {"Bucket": originals, "Key": "originals/parts.png"}
    upload_id = s3.create_multipart_upload(**upload, ContentType="image/png")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**upload, UploadId=upload_id, PartNumber=number, Body=body)[
                "ETag"
            ],
        }
        for number, body in ((1, part_bytes), (2, b"end"))
    ]
    s3.complete_multipart_upload(**upload, UploadId=upload_id, MultipartUpload={"Parts": parts})
    s3.copy_object(Bucket=originals, Key="originals/copy.png", CopySource=upload)

    stored = aws.folder / "objects" / originals / "originals"
    assert (stored / "parts.png").read_bytes() == part_bytes + b"end"
    assert (stored / "copy.png").read_bytes() == part_bytes + b"end"


def test_a_multipart_upload_sends_its_event_twice(aws, originals, s3):
    upload = {"Bucket": originals, "Key": "originals/twice.png"}
    upload_id = s3.create_multipart_upload(**upload)["UploadId"]
    etag = s3.upload_part(**upload, UploadId=upload_id, PartNumber=1, Body=b"all")["ETag"]
    s3.complete_multipart_upload(
        **upload,
        UploadId=upload_id,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
    )

    keys = [event["detail"]["object"]["key"] for event in aws.events("thumbnail")]
    assert keys == ["originals/twice.png"] * 2


@pytest.mark.parametrize(
    "key", ["../outside.jpg", "originals/../../outside.jpg", "a//b", ".hidden"]
)
def test_a_key_that_is_not_a_plain_path_is_rejected_and_writes_nothing(aws, originals, s3, key):
    before = sorted(aws.folder.parent.rglob("*"))

    with pytest.raises(ClientError, match="InvalidArgument"):
        s3.put_object(Bucket=originals, Key=key, Body=b"hostile")

    assert sorted(aws.folder.parent.rglob("*")) == before


def test_an_original_sends_an_event_to_both_functions(aws, originals, s3):
    s3.put_object(Bucket=originals, Key=KEY, Body=b"original")

    for queue in ("annotation", "thumbnail"):
        [event] = aws.events(queue)
        assert event["detail-type"] == "Object Created"
        assert event["detail"]["object"]["key"] == KEY
        assert event["detail"]["bucket"]["name"] == originals


def test_a_thumbnail_sends_no_event_in_either_bucket(aws, originals, s3):
    s3.put_object(Bucket=aws.settings.thumbnail_bucket, Key="thumbnails/a.webp", Body=b"small")
    s3.put_object(Bucket=aws.settings.thumbnail_bucket, Key="originals/a.jpg", Body=b"small")
    s3.put_object(Bucket=originals, Key="thumbnails/a.webp", Body=b"small")

    assert aws.events("annotation") == []
    assert aws.events("thumbnail") == []


@pytest.mark.parametrize(
    ("detail_type", "receiver", "other"),
    [
        ("Annotation Requested", "annotation", "thumbnail"),
        ("Thumbnail Requested", "thumbnail", "annotation"),
    ],
)
def test_a_retry_event_goes_only_to_the_function_of_its_job(
    aws, originals, s3, detail_type, receiver, other
):
    detail = {"bucket": {"name": originals}, "object": {"key": KEY}}
    entry = {"Source": "image-annotation", "DetailType": detail_type, "Detail": json.dumps(detail)}

    aws.client("events").put_events(Entries=[entry])

    assert [event["detail"] for event in aws.events(receiver)] == [detail]
    assert aws.events(other) == []


def send(url, *, method="GET", headers=None, body=None):
    """Return the status, the headers and the body of a response."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_page_may_load_an_object_with_a_presigned_url(aws, originals, s3, site):
    s3.put_object(Bucket=originals, Key=KEY, Body=b"original")
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": originals, "Key": KEY})

    status, headers, body = send(presigned, headers={"Sec-Fetch-Site": site, **BROWSER})

    assert (status, body) == (200, b"original")
    assert "Access-Control-Allow-Origin" not in headers


def test_an_object_cannot_be_read_without_a_valid_presigned_url(aws, originals, s3):
    s3.put_object(Bucket=originals, Key=KEY, Body=b"original")
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": originals, "Key": KEY})
    plain = presigned.partition("?")[0]

    refused = {
        "AccessDenied": [plain, f"{plain}?Signature=x"],
        "SignatureDoesNotMatch": [f"{presigned}&response-content-type=text%2Fhtml"],
        "InvalidAccessKeyId": [presigned.replace(aws.settings.access_key.id, "AKIALOCAL")],
    }

    for code, urls in refused.items():
        for url in urls:
            status, _, body = send(url)
            assert (status, f"<Code>{code}</Code>".encode() in body) == (403, True), url


# What a page sends without a preflight request, so without permission of the server.
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
FORM = {"Origin": "http://evil.example", "Content-Type": "text/plain", **BROWSER}


def test_a_form_of_a_page_cannot_delete_an_object(aws, originals, s3):
    s3.put_object(Bucket=originals, Key=KEY, Body=b"original")
    body = f"<Delete><Object><Key>{KEY}</Key></Object></Delete>".encode()
    url = f"{aws.settings.aws_url}/{originals}?delete&Signature=x"

    status, _, answer = send(url, method="POST", headers=FORM, body=body)

    assert (status, b"AccessDenied" in answer) == (403, True)
    assert s3.get_object(Bucket=originals, Key=KEY)["Body"].read() == b"original"


@pytest.mark.parametrize("path", ["/?list-type=2", f"/{KEY}?a", "/image-annotation-originals?a"])
def test_a_page_whose_domain_resolves_to_this_machine_reads_nothing(aws, originals, s3, path):
    s3.put_object(Bucket=originals, Key=KEY, Body=b"original")
    host = f"{originals}.evil.example:{aws.settings.aws_port}"

    status, _, body = send(f"{aws.settings.aws_url}{path}&Signature=x", headers={"Host": host})

    assert status == 403
    assert KEY.encode() not in body
    assert body != b"original"


def test_a_page_cannot_use_a_presigned_url_under_another_host_or_to_change_something(
    aws, originals, s3
):
    target = {"Bucket": originals, "Key": KEY}
    reading = s3.generate_presigned_url("get_object", Params=target)
    writing = s3.generate_presigned_url("put_object", Params=target)

    rebound = send(reading, headers={"Host": f"evil.example:{aws.settings.aws_port}"})
    changed = send(writing, method="PUT", headers={"Sec-Fetch-Site": "cross-site"}, body=b"evil")

    assert (rebound[0], changed[0]) == (403, 403)


def test_a_program_without_the_access_key_of_the_run_is_refused(aws):
    unknown = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    options = {"endpoint_url": aws.settings.aws_url, "region_name": "us-east-1", **unknown}

    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        boto3.client("s3", **options).list_objects_v2(Bucket=aws.settings.image_bucket)
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        boto3.client("events", **options).list_rules()


def test_no_request_can_reset_the_local_cloud(aws, originals, s3):
    s3.put_object(Bucket=originals, Key=KEY, Body=b"original")

    assert send(f"{aws.settings.aws_url}/moto-api/reset", method="POST", body=b"")[0] == 403

    assert s3.get_object(Bucket=originals, Key=KEY)["Body"].read() == b"original"
