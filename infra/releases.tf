# The release store: a bucket whose objects are never lost to a mistake, and which pods reach by their service account.

resource "aws_s3_bucket" "releases" {
  #checkov:skip=CKV_AWS_18:CloudTrail's data events tell who read what, if wanted
  #checkov:skip=CKV_AWS_144:one region; docs/disaster.md says how to copy it to another
  #checkov:skip=CKV2_AWS_62:nobody waits for an object to appear
  bucket_prefix = "${var.name}-releases-"
  force_destroy = !var.protect # without it a bucket with releases refuses to be destroyed
}

resource "aws_s3_bucket_versioning" "releases" {
  bucket = aws_s3_bucket.releases.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "releases" {
  bucket = aws_s3_bucket.releases.id
  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "releases" {
  bucket = aws_s3_bucket.releases.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.main.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "releases" {
  bucket                  = aws_s3_bucket.releases.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "releases" {
  bucket = aws_s3_bucket.releases.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyEncrypted"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.releases.arn, "${aws_s3_bucket.releases.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

locals {
  # Who of the pods may do what in the bucket, by service account in the namespace `mien`.
  store_users = {
    triton   = ["s3:GetObject"]
    flow-run = ["s3:GetObject", "s3:PutObject"]
  }
}

resource "aws_iam_role" "store" {
  for_each           = local.store_users
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.assume_pod.json
}

resource "aws_iam_role_policy" "store" {
  for_each = local.store_users
  role     = aws_iam_role.store[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = each.value, Resource = "${aws_s3_bucket.releases.arn}/*" },
      { Effect = "Allow", Action = "s3:ListBucket", Resource = aws_s3_bucket.releases.arn },
      { Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = aws_kms_key.main.arn },
    ]
  })
}

resource "aws_eks_pod_identity_association" "store" {
  for_each        = local.store_users
  cluster_name    = aws_eks_cluster.main.name
  namespace       = "mien"
  service_account = each.key
  role_arn        = aws_iam_role.store[each.key].arn
}
