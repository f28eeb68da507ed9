"""A queue of moto's SQS."""

import json

from components import package
from moto_server import BUCKET, Bucket


class Queue:
    """A queue that gets the notifications of the bucket."""

    def __init__(self, bucket: Bucket) -> None:
        session = package("boto3").session.Session("testing", "s3cret", region_name="eu-west-1")
        self._sqs = session.client("sqs", endpoint_url=bucket.url)
        self.url = self.create()
        self._arn = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])[
            "Attributes"
        ]
        self._s3 = session.client("s3", endpoint_url=bucket.url)

    def create(self) -> str:
        attributes = {"VisibilityTimeout": "1"}
        url: str = self._sqs.create_queue(QueueName="arrivals", Attributes=attributes)["QueueUrl"]
        return url

    def subscribe(self) -> None:
        events = {"QueueArn": self._arn["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
        self._s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [events]}
        )

    def send(self, *keys: str) -> None:
        records = [{"s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}} for key in keys]
        self.say(json.dumps({"Records": records}))

    def say(self, body: str) -> None:
        self._sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def left(self) -> int:
        """Messages that are not deleted, those that were received included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))

    def delete(self) -> None:
        self._sqs.delete_queue(QueueUrl=self.url)
