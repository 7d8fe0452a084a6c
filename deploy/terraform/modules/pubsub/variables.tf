variable "project_id" {
  description = "Project of the topics."
  type        = string
}

variable "labels" {
  description = "Labels of topics and subscriptions."
  type        = map(string)
  default     = {}
}

variable "schemas" {
  description = <<-EOT
    Schemas by name, as Avro text. Give a topic one only if every message on it has it: what
    differs is refused by Pub/Sub, and goes to the dead letters of the telemetry pipeline.
  EOT
  type        = map(string)
  default     = {}
}

variable "topics" {
  description = <<-EOT
    Topics by name, each with its subscriptions by name.

    retention_seconds: how far back a subscription can be sought, 600 to 2,678,400; also what was
      acknowledged. It is paid for by the byte.
    schema: a name of schemas, and the encoding of the messages, JSON or BINARY. JSON is Avro's own
      JSON, in which a value of a union stands in an object named after its type.
    regions: the only regions in which messages may be stored; empty for no restriction.

    Of a subscription:
    ack_deadline_seconds: 10 to 600; a pipeline extends it for what it works on.
    retention_seconds: how long what is not acknowledged is kept, 600 to 2,678,400.
    retain_acked: keep what was acknowledged as well, to seek back to it where the topic keeps none.
    ordered: hand out the messages of one ordering key in order. It can't be changed later.
    filter: a filter on attributes; what it leaves out is acknowledged by Pub/Sub. It can't be
      changed later.
    read_by_pipeline: whether one of our pipelines reads it.
    dead_letter_topic, max_delivery_attempts: a topic of this map for what others failed to
      acknowledge so many times, 5 to 100.
  EOT
  type = map(object({
    retention_seconds = optional(number, 604800)
    regions           = optional(list(string), [])
    schema = optional(object({
      name     = string
      encoding = string
    }))
    subscriptions = map(object({
      ack_deadline_seconds  = optional(number, 60)
      retention_seconds     = optional(number, 604800)
      retain_acked          = optional(bool, false)
      ordered               = optional(bool, false)
      filter                = optional(string)
      read_by_pipeline      = optional(bool, true)
      dead_letter_topic     = optional(string)
      max_delivery_attempts = optional(number, 10)
    }))
  }))

  validation {
    condition     = alltrue([for topic in values(var.topics) : length(topic.subscriptions) > 0])
    error_message = "topics: each needs a subscription; a topic without one accepts messages and drops them."
  }

  validation {
    condition = alltrue([
      for topic in values(var.topics) : alltrue([
        for seconds in concat([topic.retention_seconds], [for each in values(topic.subscriptions) : each.retention_seconds]) :
        seconds >= 600 && seconds <= 2678400
      ])
    ])
    error_message = "topics: retention_seconds must be 600 to 2678400 (31 days)."
  }

  validation {
    condition = alltrue(flatten([
      for topic in values(var.topics) : [
        for each in values(topic.subscriptions) :
        each.ack_deadline_seconds >= 10 && each.ack_deadline_seconds <= 600
      ]
    ]))
    error_message = "topics: ack_deadline_seconds must be 10 to 600."
  }

  # Dataflow gives messages back for reasons of its own (a bundle is tried again, a worker goes
  # away), and Pub/Sub counts each as a failed delivery: good messages would be dead letters. The
  # pipelines have dead letters of their own, for messages that are really bad.
  validation {
    condition = alltrue(flatten([
      for topic in values(var.topics) : [
        for each in values(topic.subscriptions) :
        !each.read_by_pipeline || each.dead_letter_topic == null
      ]
    ]))
    error_message = "topics: a subscription that a pipeline reads must have no dead_letter_topic; the pipelines write dead letters themselves."
  }

  validation {
    condition = alltrue(flatten([
      for name, topic in var.topics : [
        for each in values(topic.subscriptions) :
        each.dead_letter_topic == null ? true : contains(keys(var.topics), each.dead_letter_topic) && each.dead_letter_topic != name
      ]
    ]))
    error_message = "topics: dead_letter_topic must be another topic of the same map."
  }

  validation {
    condition = alltrue(flatten([
      for topic in values(var.topics) : [
        for each in values(topic.subscriptions) :
        each.max_delivery_attempts >= 5 && each.max_delivery_attempts <= 100
      ]
    ]))
    error_message = "topics: max_delivery_attempts must be 5 to 100."
  }

  validation {
    condition = alltrue([
      for topic in values(var.topics) :
      topic.schema == null ? true : contains(["JSON", "BINARY"], topic.schema.encoding)
    ])
    error_message = "topics: a schema's encoding must be JSON or BINARY."
  }

  validation {
    condition = length(flatten([for topic in values(var.topics) : keys(topic.subscriptions)])) == length(
      distinct(flatten([for topic in values(var.topics) : keys(topic.subscriptions)]))
    )
    error_message = "topics: a project has one subscription of a name; two topics here have the same."
  }
}
