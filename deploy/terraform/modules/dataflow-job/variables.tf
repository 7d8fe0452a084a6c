variable "project_id" {
  description = "Project of the job."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9.:-]{4,61}[a-z0-9]$", var.project_id))
    error_message = "project_id: must be like my-project."
  }
}

variable "region" {
  description = "Region of the job."
  type        = string
}

variable "name" {
  description = "The job's name. Another name is another job: Terraform drains this one first and launches the other then."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.name))
    error_message = "name: must be lower case letters, digits and dashes, such as telemetry."
  }
}

variable "specification" {
  description = "What `mqttbeam templates spec` wrote, in a bucket. Give each version a name of its own: a change of the file under the same name is not seen."
  type        = string

  validation {
    condition     = can(regex("^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]/[^ ]+$", var.specification))
    error_message = "specification: must be like gs://my-bucket/templates/mqtt-to-pubsub-1.0.json."
  }
}

variable "image" {
  description = "The image that the specification names, for the workers; with a tag or a digest."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.:-]+/[a-z0-9._/-]+(:[A-Za-z0-9_.-]{1,128}|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image: must be REGISTRY/PATH:TAG or REGISTRY/PATH@sha256:DIGEST."
  }
}

variable "parameters" {
  description = "The template's parameters, by the names of its README; null for one that is not given. Secrets are references, never values."
  type        = map(string)

  validation {
    condition = alltrue([
      for name, value in var.parameters :
      !endswith(name, "SecretId") || value == null || can(regex("^projects/[^/ ]+/secrets/[A-Za-z0-9_-]{1,255}(/versions/[A-Za-z0-9_-]+)?$", value))
    ])
    error_message = "parameters: a …SecretId must be projects/P/secrets/S or projects/P/secrets/S/versions/V: a value in the clear would be shown to all who may see the job."
  }
}

variable "service_account_email" {
  description = "Whom the workers run as."
  type        = string
}

variable "subnetwork" {
  description = "Subnetwork of the workers, regions/R/subnetworks/S; with Private Google Access, as they have no public address."
  type        = string

  validation {
    condition     = can(regex("^(https://[^ ]+/)?(projects/[^/ ]+/)?regions/[^/ ]+/subnetworks/[^/ ]+$", var.subnetwork))
    error_message = "subnetwork: must be like regions/europe-west1/subnetworks/workers."
  }
}

variable "dataflow_bucket" {
  description = "Bucket for staged and temporary files, in staging/NAME/ and temp/NAME/ of the job's name."
  type        = string
}

variable "machine_type" {
  description = "Machine type of the workers."
  type        = string
  default     = "n1-standard-2"
}

variable "max_workers" {
  description = "Where autoscaling ends. A pipeline that reads MQTT uses no more workers than it has shards."
  type        = number

  validation {
    condition     = var.max_workers >= 1 && var.max_workers <= 1000
    error_message = "max_workers: must be 1 to 1000."
  }
}

variable "transform_name_mapping" {
  description = "Steps that were renamed since the running job was launched, old name to new: `renamed` of the template's graph.json."
  type        = map(string)
  default     = {}
}

variable "labels" {
  description = "Labels of the job and its workers."
  type        = map(string)
  default     = {}
}
