# The broker's password, with a reminder every 90 days, and its certificate authority.

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

module "reminders" {
  source = "../../modules/pubsub"

  project_id = "my-project"

  topics = {
    secret-rotation = {
      subscriptions = { secret-rotation-review = { read_by_pipeline = false } }
    }
  }
}

module "secrets" {
  source = "../../modules/secrets"

  project_id     = "my-project"
  rotation_topic = module.reminders.topics["secret-rotation"]
  first_rotation = "2027-01-31T09:00:00Z"

  secrets = {
    mqtt-password = { purpose = "broker-password", rotation_days = 90 }
    mqtt-ca       = { purpose = "broker-ca" }
  }
}

output "secrets" {
  value = module.secrets.secrets
}
