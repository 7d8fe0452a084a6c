variable "project_id" {
  description = "Project of the repository."
  type        = string
}

variable "location" {
  description = "Region or multi-region of the repository: near the workers, who pull the image at every start."
  type        = string
}

variable "repository_id" {
  description = "Name of the repository."
  type        = string
  default     = "mqttbeam"
}

variable "keep_versions" {
  description = "Newest versions of each image that stay, whatever their age: what a roll back needs. A job whose image is deleted can't get another worker."
  type        = number
  default     = 20

  validation {
    condition     = var.keep_versions >= 2
    error_message = "keep_versions: must be 2 or more, as a roll back needs the version before."
  }
}

variable "delete_after_days" {
  description = "Age in days at which other versions are deleted."
  type        = number
  default     = 180

  validation {
    condition     = var.delete_after_days >= 1
    error_message = "delete_after_days: must be 1 or more."
  }
}

variable "labels" {
  description = "Labels of the repository."
  type        = map(string)
  default     = {}
}
