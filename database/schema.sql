-- The schema after all migrations, as MySQL 8.4 shows it. Do not edit it. After a change of the
-- models and a new migration, write it again (the same test compares it with a real server):
--   python -m pytest tests/integration/database/test_schema.py --write-schema

CREATE TABLE `annotation_fingerprints` (
  `image_id` bigint NOT NULL,
  `fingerprint` varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (`image_id`),
  KEY `annotation_fingerprints_fingerprint` (`fingerprint`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `api_keys` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `owner_id` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `name` varchar(100) NOT NULL,
  `key_hash` varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `created_at` datetime(6) NOT NULL,
  `last_used_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `key_hash` (`key_hash`),
  KEY `api_keys_owner` (`owner_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `caption_language` (
  `id` int NOT NULL,
  `language` varchar(32) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `caption_service` (
  `id` int NOT NULL,
  `paused_until` datetime(6) DEFAULT NULL,
  `reason` varchar(500) DEFAULT NULL,
  `refused_since` datetime(6) DEFAULT NULL,
  `refused_at` datetime(6) DEFAULT NULL,
  `answered_at` datetime(6) DEFAULT NULL,
  `requests_per_minute` int DEFAULT NULL,
  `limit_known_until` datetime(6) DEFAULT NULL,
  `minute` datetime(6) DEFAULT NULL,
  `minute_requests` int NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `daily_tokens` (
  `day` date NOT NULL,
  `tokens` bigint NOT NULL,
  PRIMARY KEY (`day`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `exports` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `export_id` varchar(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `owner_id` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `state` varchar(16) NOT NULL,
  `images` int DEFAULT NULL,
  `images_done` int NOT NULL,
  `error_code` varchar(64) DEFAULT NULL,
  `error_message` varchar(500) DEFAULT NULL,
  `started_at` datetime(6) NOT NULL,
  `changed_at` datetime(6) NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `exports_export_id` (`export_id`,`owner_id`),
  KEY `exports_changed` (`changed_at`),
  CONSTRAINT `exports_state` CHECK ((`state` in (_utf8mb4'running',_utf8mb4'completed',_utf8mb4'stopped')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `images` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `filename` varchar(255) NOT NULL,
  `original_key` varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `thumbnail_key` varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL,
  `content_type` varchar(64) NOT NULL,
  `size_bytes` bigint NOT NULL,
  `width` int NOT NULL,
  `height` int NOT NULL,
  `sha256` varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `dominant_color` varchar(7) DEFAULT NULL,
  `owner_id` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `annotation` text,
  `alt_text` text,
  `tags` json DEFAULT NULL,
  `annotation_source` varchar(16) DEFAULT NULL,
  `generated_annotation` text,
  `annotation_model` varchar(128) DEFAULT NULL,
  `input_tokens` int DEFAULT NULL,
  `output_tokens` int DEFAULT NULL,
  `annotation_status` varchar(16) NOT NULL,
  `annotation_error_code` varchar(64) DEFAULT NULL,
  `annotation_error_message` varchar(500) DEFAULT NULL,
  `annotation_attempts` int NOT NULL,
  `annotation_claimed_until` datetime(6) DEFAULT NULL,
  `annotation_requested_at` datetime(6) NOT NULL,
  `thumbnail_status` varchar(16) NOT NULL,
  `thumbnail_error_code` varchar(64) DEFAULT NULL,
  `thumbnail_error_message` varchar(500) DEFAULT NULL,
  `thumbnail_attempts` int NOT NULL,
  `thumbnail_claimed_until` datetime(6) DEFAULT NULL,
  `thumbnail_requested_at` datetime(6) NOT NULL,
  `uploaded_at` datetime(6) NOT NULL,
  `updated_at` datetime(6) NOT NULL,
  `search_text` mediumtext GENERATED ALWAYS AS (concat_ws(_utf8mb4' ',`filename`,`annotation`,`alt_text`,cast(`tags` as char charset utf8mb4))) STORED,
  `generated_alt_text` text,
  `generated_tags` json DEFAULT NULL,
  `deleting_at` datetime(6) DEFAULT NULL,
  `overall_status` varchar(16) GENERATED ALWAYS AS ((case when ((`annotation_status` = _utf8mb4'pending') or (`thumbnail_status` = _utf8mb4'pending')) then _utf8mb4'pending' when ((`annotation_status` = _utf8mb4'failed') or (`thumbnail_status` = _utf8mb4'failed')) then _utf8mb4'failed' else _utf8mb4'completed' end)) VIRTUAL,
  `search_words` mediumtext GENERATED ALWAYS AS (regexp_replace(regexp_replace(regexp_replace(`search_text`,_utf8mb4'\\p{M}+',_utf8mb4''),_utf8mb4'([\\x{0E00}-\\x{0EFF}\\x{1000}-\\x{109F}\\x{1100}-\\x{11FF}\\x{1780}-\\x{17FF}\\x{3040}-\\x{30FF}\\x{31F0}-\\x{31FF}\\x{3400}-\\x{4DBF}\\x{4E00}-\\x{9FFF}\\x{AC00}-\\x{D7AF}\\x{F900}-\\x{FAFF}\\x{FF66}-\\x{FF9F}])',_utf8mb4' $1 '),_utf8mb4'[^\\p{L}\\p{N}]*([\\p{L}\\p{N}]{1,64})[^\\p{L}\\p{N}]*',_utf8mb4'zz$1 ')) STORED,
  PRIMARY KEY (`id`),
  UNIQUE KEY `original_key` (`original_key`),
  KEY `images_owner_sha256` (`owner_id`,`sha256`),
  KEY `images_annotation_waiting` (`annotation_status`,`annotation_requested_at`),
  KEY `images_thumbnail_waiting` (`thumbnail_status`,`thumbnail_requested_at`),
  KEY `images_deleting` (`deleting_at`),
  KEY `images_owner` (`owner_id`),
  KEY `images_owner_deleting` (`owner_id`,`deleting_at`),
  KEY `images_uploaded` (`uploaded_at`),
  KEY `images_changed` (`deleting_at`,`updated_at`),
  KEY `images_owner_changed` (`owner_id`,`deleting_at`,`updated_at`),
  KEY `images_status_visible` (`overall_status`,`deleting_at`),
  KEY `images_owner_status` (`owner_id`,`overall_status`,`deleting_at`),
  KEY `images_status_changed` (`overall_status`,`deleting_at`,`updated_at`),
  KEY `images_owner_status_changed` (`owner_id`,`overall_status`,`deleting_at`,`updated_at`),
  FULLTEXT KEY `images_search_words` (`search_words`),
  CONSTRAINT `images_annotation_source` CHECK ((`annotation_source` in (_utf8mb4'model',_utf8mb4'human'))),
  CONSTRAINT `images_annotation_status` CHECK ((`annotation_status` in (_utf8mb4'pending',_utf8mb4'completed',_utf8mb4'failed'))),
  CONSTRAINT `images_thumbnail_status` CHECK ((`thumbnail_status` in (_utf8mb4'pending',_utf8mb4'completed',_utf8mb4'failed')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `imports` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `owner_id` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `state` varchar(16) NOT NULL,
  `changed` int NOT NULL,
  `unchanged` int NOT NULL,
  `created_at` datetime(6) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `imports_owner` (`owner_id`,`state`),
  CONSTRAINT `imports_state` CHECK ((`state` in (_utf8mb4'proposed',_utf8mb4'applied',_utf8mb4'undone')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `job_activity` (
  `job` varchar(16) NOT NULL,
  `worked_at` datetime(6) DEFAULT NULL,
  `requeued_at` datetime(6) DEFAULT NULL,
  `requeued` int NOT NULL,
  `not_requeued` int NOT NULL,
  PRIMARY KEY (`job`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `token_usage` (
  `owner_id` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `day` date NOT NULL,
  `model` varchar(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `requests` int NOT NULL,
  `input_tokens` bigint NOT NULL,
  `output_tokens` bigint NOT NULL,
  PRIMARY KEY (`owner_id`,`day`,`model`),
  KEY `token_usage_day` (`day`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `caption_options` (
  `image_id` bigint NOT NULL,
  `languages` varchar(85) NOT NULL,
  `style` varchar(16) DEFAULT NULL,
  `context` varchar(500) DEFAULT NULL,
  `uses_embedded_text` tinyint(1) NOT NULL DEFAULT '0',
  PRIMARY KEY (`image_id`),
  CONSTRAINT `caption_options_ibfk_1` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE,
  CONSTRAINT `caption_options_style` CHECK ((`style` in (_utf8mb4'short',_utf8mb4'detailed',_utf8mb4'alt_text_only',_utf8mb4'product')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `image_languages` (
  `image_id` bigint NOT NULL,
  `language` varchar(16) NOT NULL,
  `translations` json DEFAULT NULL,
  PRIMARY KEY (`image_id`),
  CONSTRAINT `image_languages_ibfk_1` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `image_reviews` (
  `image_id` bigint NOT NULL,
  `owner_id` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `is_decorative` tinyint(1) NOT NULL,
  `reviewed_at` datetime(6) DEFAULT NULL,
  `reviewed_by` varchar(12) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL,
  `reviewed_version` varchar(12) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL,
  `state` varchar(16) NOT NULL,
  `alt_text_state` varchar(16) NOT NULL,
  `alt_text_hash` varchar(12) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL,
  PRIMARY KEY (`image_id`),
  KEY `image_reviews_state_of_all` (`state`),
  KEY `image_reviews_state_of_owner` (`owner_id`,`state`),
  KEY `image_reviews_alt_text_of_all` (`alt_text_state`),
  KEY `image_reviews_alt_text_of_owner` (`owner_id`,`alt_text_state`),
  KEY `image_reviews_same_alt_text` (`owner_id`,`alt_text_hash`),
  CONSTRAINT `image_reviews_ibfk_1` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE,
  CONSTRAINT `image_reviews_state` CHECK ((`state` in (_utf8mb4'unreviewed',_utf8mb4'reviewed',_utf8mb4'changed')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `image_words` (
  `image_id` bigint NOT NULL,
  `words` mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (`image_id`),
  FULLTEXT KEY `image_words_index` (`words`),
  CONSTRAINT `image_words_ibfk_1` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `import_changes` (
  `import_id` bigint NOT NULL,
  `image_id` bigint NOT NULL,
  `texts_before` json NOT NULL,
  `texts_after` json NOT NULL,
  PRIMARY KEY (`import_id`,`image_id`),
  KEY `import_changes_image` (`image_id`),
  CONSTRAINT `import_changes_ibfk_1` FOREIGN KEY (`import_id`) REFERENCES `imports` (`id`) ON DELETE CASCADE,
  CONSTRAINT `import_changes_ibfk_2` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `previews` (
  `image_id` bigint NOT NULL,
  `width` int NOT NULL,
  `height` int NOT NULL,
  `small_width` int DEFAULT NULL,
  PRIMARY KEY (`image_id`),
  CONSTRAINT `previews_ibfk_1` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `text_sources` (
  `image_id` bigint NOT NULL,
  `alt_text` varchar(16) NOT NULL,
  `tags` varchar(16) NOT NULL,
  PRIMARY KEY (`image_id`),
  CONSTRAINT `text_sources_ibfk_1` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE,
  CONSTRAINT `text_sources_alt_text` CHECK ((`alt_text` in (_utf8mb4'model',_utf8mb4'human'))),
  CONSTRAINT `text_sources_tags` CHECK ((`tags` in (_utf8mb4'model',_utf8mb4'human')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `text_versions` (
  `image_id` bigint NOT NULL,
  `field` varchar(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `number` int NOT NULL,
  `text` json DEFAULT NULL,
  `source` varchar(16) NOT NULL,
  `written_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`image_id`,`field`,`number`),
  CONSTRAINT `text_versions_ibfk_1` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE,
  CONSTRAINT `text_versions_source` CHECK ((`source` in (_utf8mb4'model',_utf8mb4'human',_utf8mb4'import')))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `texts_in_images` (
  `image_id` bigint NOT NULL,
  `text` text NOT NULL,
  PRIMARY KEY (`image_id`),
  CONSTRAINT `texts_in_images_ibfk_1` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;

CREATE TABLE `translation_edits` (
  `image_id` bigint NOT NULL,
  `texts` json NOT NULL,
  PRIMARY KEY (`image_id`),
  CONSTRAINT `translation_edits_ibfk_1` FOREIGN KEY (`image_id`) REFERENCES `images` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
