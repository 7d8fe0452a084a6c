# A topic whose messages all have one schema, with a pipeline as reader, and one whose reader is a
# program of your own: what that one fails to acknowledge ten times is put aside.

terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 6.50"
    }
  }
}

provider "google" {
  project = "my-project"
  region  = "europe-west1"
}

provider "google-beta" {
  project = "my-project"
  region  = "europe-west1"
}

module "pubsub" {
  source = "../../modules/pubsub"

  project_id = "my-project"

  schemas = {
    reading-v1 = file("${path.module}/../../../../schemas/avro/reading.v1.avsc")
  }

  topics = {
    readings = {
      # Avro in binary: Avro's JSON writes a value of a union as {"long": 1}, which devices don't.
      schema        = { name = "reading-v1", encoding = "BINARY" }
      regions       = ["europe-west1"]
      subscriptions = { readings-warehouse = {} }
    }

    command-results = {
      subscriptions = {
        results-backend = {
          read_by_pipeline      = false
          dead_letter_topic     = "command-results-undelivered"
          max_delivery_attempts = 10
        }
      }
    }

    command-results-undelivered = {
      subscriptions = {
        command-results-undelivered-review = { read_by_pipeline = false, retention_seconds = 2678400 }
      }
    }
  }
}

output "subscriptions" {
  value = module.pubsub.subscriptions
}
