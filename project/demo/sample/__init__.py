"""What the sample mailbox is made of; `project.demo.mailbox` puts it together."""
