variable "project_id" {
  description = "Project of the network."
  type        = string
}

variable "region" {
  description = "Region of the workers."
  type        = string
}

variable "name" {
  description = "Name of the network; everything in it begins with it."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,40}[a-z0-9])?$", var.name))
    error_message = "name: must be lower case letters, digits and dashes, 42 at most, such as mqttbeam."
  }
}

variable "ip_cidr_range" {
  description = "Addresses of the workers: one for each, and Google keeps four."
  type        = string
  default     = "10.80.0.0/22"

  validation {
    condition     = can(cidrnetmask(var.ip_cidr_range))
    error_message = "ip_cidr_range: must be an IPv4 range such as 10.80.0.0/22."
  }
}

variable "nat_address_count" {
  description = "Fixed addresses under which the workers reach a broker outside, for its firewall's list; 0 leaves the choice to Google, which changes it."
  type        = number
  default     = 1

  validation {
    condition     = var.nat_address_count >= 0 && floor(var.nat_address_count) == var.nat_address_count
    error_message = "nat_address_count: must be 0 or more."
  }
}

variable "nat_ports_per_vm" {
  description = "Connections that one worker may hold to one address and port outside. A fixed address has 64,512 in all."
  type        = number
  default     = 256
}

variable "flow_log_sampling" {
  description = "Part of the flows that is logged, 0 to 1; 0 logs none."
  type        = number
  default     = 0

  validation {
    condition     = var.flow_log_sampling >= 0 && var.flow_log_sampling <= 1
    error_message = "flow_log_sampling: must be 0 to 1."
  }
}
